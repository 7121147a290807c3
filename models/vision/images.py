"""Pictures off the wire: their header is read before anything is decoded, then they are decoded.

A decoder believes what a header says, and allocates it: a PNG of a few kilobytes may unfold to
gigabytes. So `inspect` reads the header alone, without a decoder, and refuses what we do not take.
`decode` always gives BGR bytes, upright: EXIF rotation is applied, 16 bits become 8, grey becomes
colour.

JPEG: ITU-T T.81, annex B. PNG: https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import DataError

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, BGR."""

MIN_SIDE_PX: Final = 16
"""Smaller than any object that can be told from noise."""

MAX_SCANS: Final = 64
"""A progressive JPEG has about ten; each costs a pass over the whole picture, however empty."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_OTHERS: Final = ((b"GIF8", "GIF"), (b"RIFF", "WebP"), (b"BM", "BMP"), (b"II*\0", "TIFF"))

_NO_LENGTH = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # TEM, SOI, RSTn
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15
_HUFFMAN_8_BIT = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive
_SCAN, _END = 0xDA, 0xD9

_REDUCED: Final = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class PictureError(DataError):
    """A picture that we do not decode, or that cannot be decoded; the message says why."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture claims to be: `width` and `height` in pixels as stored."""

    format: Literal["jpeg", "png"]
    width: int
    height: int

    def reduction(self, size: tuple[int, int]) -> int:
        """How much smaller (1, 2, 4, 8) it may be decoded and still cover `size` (H, W).

        Letterboxed, the side that fits more tightly decides. A PNG is decoded whole in any case.
        """
        if self.format == "png":
            return 1
        slack = max(self.height / size[0], self.width / size[1])
        return next(factor for factor in (8, 4, 2, 1) if factor <= slack or factor == 1)


def inspect(data: bytes, *, max_bytes: int, max_pixels: int) -> Header:
    """Read a picture's header and decide whether we decode it.

    Raises:
        PictureError: empty, too large in bytes or pixels, too small, no JPEG or PNG, cut off,
            animated, or of a kind that cameras do not send (CMYK, 12 bits, lossless).
    """
    if not data:
        raise PictureError("empty")
    if len(data) > max_bytes:
        raise PictureError(f"{len(data)} bytes are more than vision.max_frame_bytes, {max_bytes}")
    if data.startswith(_JPEG):
        header = _jpeg(data)
    elif data.startswith(_PNG):
        header = _png(data)
    else:
        known = next((f"{name}: " for magic, name in _OTHERS if data.startswith(magic)), "")
        raise PictureError(f"{known}neither JPEG nor PNG")
    if header.width * header.height > max_pixels:
        raise PictureError(
            f"{header.width} x {header.height} pixels are more than vision.max_pixels, {max_pixels}"
        )
    if min(header.width, header.height) < MIN_SIDE_PX:
        raise PictureError(f"{header.width} x {header.height} pixels are too few to see anything")
    return header


def decode(data: bytes, *, reduction: int = 1) -> Picture:
    """Decode what `inspect` let pass, at 1/`reduction` (1, 2, 4 or 8) of its size. Frees the GIL.

    A JPEG with wrong bits in the middle of a scan cannot be told from a strange picture, and
    passes.

    Raises:
        PictureError: it is damaged.
    """
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[reduction])
    except cv2.error as error:
        raise PictureError(f"damaged: {error.err}") from None
    if picture is None or picture.ndim != 3 or picture.dtype != np.uint8:
        raise PictureError("damaged: it ends early, or its data contradicts itself")
    return picture  # type: ignore[return-value]  # checked above


def encode(picture: Picture, *, quality: int = 80) -> bytes:
    """Encode as JPEG; `quality` from 1 to 100."""
    encoded, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise PictureError(f"cannot encode {picture.shape} {picture.dtype}")
    return data.tobytes()


def _jpeg(data: bytes) -> Header:
    """Walk the segments up to the first scan."""
    header, at = None, 2
    while True:
        while data[at : at + 2] == b"\xff\xff":  # fill bytes
            at += 1
        if len(data) < at + 2 or data[at] != 0xFF:
            raise PictureError("damaged: the JPEG's segments do not follow one another")
        marker = data[at + 1]
        if marker == _SCAN and header is not None:
            break
        if marker in (_SCAN, _END):
            raise PictureError("damaged: a JPEG without a picture")
        if marker in _NO_LENGTH:
            at += 2
            continue
        if len(data) < at + 4 or (length := struct.unpack_from(">H", data, at + 2)[0]) < 2:
            raise PictureError("damaged: the JPEG ends within its header")
        if marker in _FRAMES:
            header = _jpeg_frame(marker, data[at + 4 : at + 2 + length])
        at += 2 + length
    if data.count(b"\xff\xda") > MAX_SCANS:  # a scan's own bytes cannot hold it
        raise PictureError(f"a JPEG of more than {MAX_SCANS} scans")
    return header


def _jpeg_frame(marker: int, segment: bytes) -> Header:
    if len(segment) < 6:
        raise PictureError("damaged: the JPEG ends within its header")
    bits, height, width, components = struct.unpack_from(">BHHB", segment)
    if marker not in _HUFFMAN_8_BIT or bits != 8:
        raise PictureError(f"a JPEG of {bits} bits in process {marker:#x}: only 8, not lossless")
    if components not in (1, 3):
        raise PictureError(f"a JPEG of {components} colours (CMYK?): only grey and colour")
    return Header("jpeg", width, height)


def _png(data: bytes) -> Header:
    """Read IHDR, and the names of the chunks before the picture's data."""
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise PictureError("damaged: the PNG ends within its header")
    width, height = struct.unpack_from(">II", data, 16)
    at = 8
    while len(data) >= at + 8:
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"acTL":
            raise PictureError("an animated PNG: send its frames one by one")
        if name == b"IDAT":
            return Header("png", width, height)
        at += 12 + length
    raise PictureError("damaged: a PNG without a picture")

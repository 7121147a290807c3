"""Pictures good and bad, as bytes, and the records of a camera that sends them."""

from __future__ import annotations

import struct
import time
import zlib
from typing import Any

import cv2
import numpy as np

from models.vision.images import Picture, encode
from streams.frames import FrameHeaders
from tests.fakes.records import FakeRecord

RED, BLUE = (0, 0, 255), (255, 0, 0)  # BGR


def two_colours(width: int = 64, height: int = 48) -> Picture:
    """Red above, and a blue stripe down the left side: no rotation looks like another."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2] = RED
    picture[:, : width // 8] = BLUE
    return picture


def jpeg(width: int = 64, height: int = 48) -> bytes:
    return encode(two_colours(width, height), quality=95)


def png(width: int = 64, height: int = 48, dtype: Any = np.uint8) -> bytes:
    scale = 257 if dtype == np.uint16 else 1
    return cv2.imencode(".png", two_colours(width, height).astype(dtype) * scale)[1].tobytes()


def grey_png() -> bytes:
    return cv2.imencode(".png", two_colours()[:, :, 2])[1].tobytes()


def rotated_jpeg() -> bytes:
    """`jpeg()` whose EXIF says that its top is on the right: shown, it is 48 wide and 64 high."""
    exif = b"Exif\0\0" + _orientation(6)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return jpeg()[:2] + segment + jpeg()[2:]


def rotated_png() -> bytes:
    """The same as a PNG."""
    return _with_chunk(png(), b"eXIf", _orientation(6))


def animated_png() -> bytes:
    return _with_chunk(png(), b"acTL", struct.pack(">II", 2, 0))


def bomb_png(width: int = 50_000, height: int = 50_000) -> bytes:
    """A few kilobytes that claim to be gigabytes."""
    rows = zlib.compress(bytes(1_000_000), 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def jpeg_claiming(*, bits: int = 8, width: int = 64, height: int = 48, colours: int = 3) -> bytes:
    """`jpeg()` with another frame header."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 4
    data[at : at + 6] = struct.pack(">BHHB", bits, height, width, colours)
    return bytes(data)


def jpeg_of_many_scans() -> bytes:
    return jpeg()[:-2] + b"\xff\xda\x00\x02" * 100 + b"\xff\xd9"


def frame(offset: int, value: bytes | None, **changes: Any) -> FakeRecord:
    """A record of camera ``gate``; `changes` are headers, None leaves one out."""
    now = round(time.time() * 1000)
    fields = {"camera_id": "gate", "captured_at": now, "seq": offset, **changes}
    headers = FrameHeaders(**{k: v for k, v in fields.items() if v is not None}).to_headers()
    return FakeRecord(offset, value, str(fields["camera_id"]).encode(), headers, now)


def _orientation(value: int) -> bytes:
    return b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, value, 0) + bytes(4)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    return data[:33] + _chunk(name, body) + data[33:]

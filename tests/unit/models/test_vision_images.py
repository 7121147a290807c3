"""Pictures: what is refused by its header alone, what is decoded, and into what."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vision import images
from models.vision.images import Header, Picture, PictureError, decode, encode, inspect
from tests.fakes import pictures
from tests.fakes.pictures import BLUE, RED, jpeg, png

LIMITS = {"max_bytes": 1_000_000, "max_pixels": 1_000_000}

REFUSED = {
    "empty": (b"", "empty"),
    "text": (b"hello, camera", "neither JPEG nor PNG"),
    "a gif": (b"GIF89a" + bytes(50), "GIF: neither"),
    "a webp": (b"RIFF\0\0\0\0WEBPVP8 ", "WebP: neither"),
    "too many bytes": (jpeg() + bytes(1_000_000), "more than vision.max_frame_bytes"),
    "a png bomb": (pictures.bomb_png(), "50000 x 50000 pixels are more than vision.max_pixels"),
    "100 megapixels": (
        pictures.jpeg_claiming(width=12_000, height=9_000),
        "12000 x 9000 pixels are more",
    ),
    "one pixel": (png(1, 1), "1 x 1 pixels are too few"),
    "no height": (pictures.jpeg_claiming(height=0), "64 x 0 pixels are too few"),
    "cmyk": (pictures.jpeg_claiming(colours=4), "4 colours"),
    "12 bits": (pictures.jpeg_claiming(bits=12), "12 bits"),
    "lossless": (jpeg().replace(b"\xff\xc0", b"\xff\xc3"), "lossless"),
    "many scans": (pictures.jpeg_of_many_scans(), "scans"),
    "animated": (pictures.animated_png(), "animated"),
    "a jpeg cut in its header": (jpeg()[:100], "damaged"),
    "a jpeg without a picture": (jpeg()[:2] + b"\xff\xd9", "neither|damaged"),
    "a png cut in its header": (png()[:20], "damaged"),
    "a png without data": (png()[:33], "damaged"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_before_anything_is_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, reason = REFUSED[name]
    monkeypatch.setattr(images.cv2, "imdecode", None)

    with pytest.raises(PictureError, match=reason):
        inspect(data, **LIMITS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(jpeg()[:-30], "ends early"), (png()[:-30], "ends early"), (png()[:-1], "ends early")],
)
def test_a_picture_cut_off_in_its_data_is_damaged(data: bytes, reason: str) -> None:
    inspect(data, **LIMITS)

    with pytest.raises(PictureError, match=reason):
        decode(data)


def test_a_png_with_a_wrong_checksum_is_damaged() -> None:
    data = bytearray(png())
    data[data.index(b"IDAT") + 10] ^= 0xFF

    with pytest.raises(PictureError, match="damaged"):
        decode(bytes(data))


@pytest.mark.parametrize(
    "make", [jpeg, png, lambda: png(dtype=np.uint16)], ids=["jpeg", "png", "16 bits"]
)
def test_colours_come_out_as_bgr_bytes(make: Callable[[], bytes]) -> None:
    inspect(make(), **LIMITS)
    picture = decode(make())

    assert (picture.shape, picture.dtype) == ((48, 64, 3), np.uint8)
    assert near(picture[10, 40], RED)
    assert near(picture[10, 2], BLUE)
    assert near(picture[40, 40], (0, 0, 0))


def test_grey_becomes_colour() -> None:
    picture = decode(pictures.grey_png())

    assert picture.shape == (48, 64, 3)
    assert near(picture[10, 40], (255, 255, 255))


@pytest.mark.parametrize("make", [pictures.rotated_jpeg, pictures.rotated_png])
@pytest.mark.parametrize("reduction", [1, 2])
def test_exif_rotation_is_applied_at_every_size(make: Callable[[], bytes], reduction: int) -> None:
    assert inspect(make(), **LIMITS).width == 64  # as stored
    picture = decode(make(), reduction=reduction)

    assert picture.shape == (64 // reduction, 48 // reduction, 3)
    # A quarter turn clockwise: what was at the left is at the top, the upper half at the right.
    assert near(picture[2 // reduction, 20 // reduction], BLUE)
    assert near(picture[40 // reduction, 40 // reduction], RED)
    assert near(picture[40 // reduction, 10 // reduction], (0, 0, 0))


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        (Header("jpeg", 1920, 1080), (416, 416), 4),
        (Header("jpeg", 768, 576), (416, 416), 1),
        (Header("jpeg", 832, 100), (416, 416), 2),
        (Header("jpeg", 8000, 6000), (416, 416), 8),
        (Header("jpeg", 100, 100), (416, 416), 1),
        (Header("png", 8000, 6000), (416, 416), 1),
    ],
)
def test_a_picture_is_decoded_no_smaller_than_the_network_sees_it(
    header: Header, size: tuple[int, int], expected: int
) -> None:
    assert header.reduction(size) == expected


def test_what_was_encoded_decodes_to_almost_the_same() -> None:
    picture = pictures.two_colours()
    assert np.abs(decode(encode(picture)).astype(int) - picture).mean() < 5


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_no_bytes_make_the_header_check_raise_anything_else(tail: bytes, magic: bytes) -> None:
    try:
        header = inspect(magic + tail, **LIMITS)
    except PictureError:
        return
    assert header.width * header.height <= LIMITS["max_pixels"]


@given(st.integers(0, 1199), st.integers(0, 255))
def test_a_jpeg_with_a_wrong_byte_is_refused_or_decoded(place: int, value: int) -> None:
    data = bytearray(jpeg())
    data[place % len(data)] = value
    try:
        inspect(bytes(data), **LIMITS)
        picture: Picture = decode(bytes(data))
    except PictureError:
        return
    assert picture.ndim == 3


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - colour).max() < 40)

"""Pictures and headers that are nearly right: refused with a reason, or a picture as announced."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from models.vision.images import PictureError, decode, inspect
from streams.frames import FrameHeaders, parse_headers
from tests.fuzz.inputs import corpus, damaged

RNG = np.random.default_rng(3)
PICTURE = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
ENCODED = [
    cv2.imencode(".jpg", PICTURE)[1].tobytes(),
    cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    cv2.imencode(".png", PICTURE)[1].tobytes(),
    cv2.imencode(".png", PICTURE[..., 0])[1].tobytes(),
]
HEADERS = FrameHeaders(camera_id="gate", captured_at=1_700_000_000_000, seq=1).to_headers()


def look(data: bytes) -> None:
    """As the frame agent does: the header first, and only then the picture."""
    try:
        header = inspect(data, max_bytes=100_000, max_pixels=100_000)
        picture = decode(data)
    except PictureError:
        return
    assert picture.dtype == np.uint8
    assert picture.shape == (header.height, header.width, 3)


@pytest.mark.parametrize("file", corpus("frames"), ids=lambda file: file.name)
def test_a_frame_of_the_corpus_is_refused_or_looked_at(file: Path) -> None:
    look(file.read_bytes())


@drawn(st.sampled_from(ENCODED).flatmap(damaged).flatmap(damaged))
def test_a_damaged_picture_is_refused_or_looked_at(data: bytes) -> None:
    look(data)


@drawn(
    st.lists(
        st.tuples(
            st.one_of(st.sampled_from([name for name, _ in HEADERS]), st.text(max_size=5)),
            st.one_of(st.none(), st.binary(max_size=30), st.integers().map(lambda n: b"%d" % n)),
        ),
        max_size=8,
    ),
    st.one_of(st.none(), st.binary(max_size=10), st.just(b"gate")),
    st.integers(0, len(HEADERS)),
)
def test_headers_are_refused_with_a_reason_or_whole(
    headers: list[tuple[str, bytes | None]], key: bytes | None, given: int
) -> None:
    try:
        found = parse_headers(key, [*HEADERS[:given], *headers])
    except ValueError:
        return
    assert found.camera_id
    assert found.captured_at >= 0

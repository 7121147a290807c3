"""Motion: an object is seen to move, the light and the noise are not."""

from __future__ import annotations

import numpy as np

from models.vision.images import Picture, decode, encode
from models.vision.motion import CELLS, change, thumbnail


def street(seed: int = 1) -> Picture:
    blocks = np.random.default_rng(seed).integers(60, 190, (18, 24, 3), np.uint8)
    return np.kron(blocks, np.ones((20, 20, 1), np.uint8))


def with_person(picture: Picture, x: int) -> Picture:
    out = picture.copy()
    out[100:150, x : x + 20] = (30, 30, 30)
    return out


def test_thumbnails_have_one_size_whatever_the_picture_has() -> None:
    for shape in ((16, 16), (48, 64), (360, 480), (1080, 1920)):
        small = thumbnail(np.zeros((*shape, 3), np.uint8))
        assert (small.shape, small.dtype) == (CELLS, np.uint8)


def test_nothing_changes_between_a_picture_and_itself() -> None:
    assert change(thumbnail(street()), thumbnail(street())) == 0.0


def test_noise_and_compression_are_less_than_a_person() -> None:
    noise = np.random.default_rng(2).normal(0, 6, street().shape)
    noisy = np.clip(street() + noise, 0, 255).astype(np.uint8)
    quiet = max(
        change(thumbnail(street()), thumbnail(noisy)),
        change(thumbnail(street()), thumbnail(decode(encode(street(), quality=60)))),
    )
    person = change(thumbnail(with_person(street(), 200)), thumbnail(with_person(street(), 206)))
    assert quiet < 0.02 < person


def test_light_that_changes_everywhere_is_no_motion() -> None:
    darker = (street().astype(int) - 20).astype(np.uint8)
    assert change(thumbnail(street()), thumbnail(darker)) < 0.01
    assert change(thumbnail(street()), thumbnail(with_person(darker, 200))) > 0.1

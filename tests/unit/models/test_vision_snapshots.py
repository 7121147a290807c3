"""Snapshots: the box is drawn, others are blurred, nothing leaves the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vision.images import Picture
from models.vision.snapshots import MAX_SIDE_PX, annotate, crop, hide

BOX = (0.25, 0.25, 0.5, 0.75)


def noise(width: int = 320, height: int = 240) -> Picture:
    return np.random.default_rng(3).integers(0, 255, (height, width, 3), np.uint8)


def test_the_box_is_framed_and_the_rest_is_as_it_was() -> None:
    before = noise()
    after = annotate(before, BOX, "person")
    assert after.shape == before.shape
    assert (after[60, 80:160] == (48, 59, 255)).all()
    assert (after[64:176, 84:156] == before[64:176, 84:156]).all()  # inside
    assert (after[200:] == before[200:]).all()  # outside
    assert (before == noise()).all()  # the frame itself is untouched


def test_a_caption_stands_at_the_bottom_left_and_covers_nothing_else() -> None:
    before = noise()
    after = annotate(before, BOX, "person", "gate 12:00")
    changed = (after != annotate(before, BOX, "person")).any(axis=2)
    assert changed.any()
    assert not changed[:216].any()
    assert not changed[:, 160:].any()
    tiny = annotate(noise(20, 16), BOX, "person", "gate 2026-11-28 12:00:00.0 UTC")
    assert tiny.shape == (16, 20, 3)


def test_who_the_alert_is_not_about_is_reduced_to_a_few_blocks() -> None:
    before = noise()
    after = hide(before, [(0.6, 0.2, 0.9, 0.9)], keep=BOX)
    inside, outside = after[60:200, 200:280], after[220:, :]
    assert inside.std() < before[60:200, 200:280].std() / 3
    assert (outside == before[220:, :]).all()


def test_where_boxes_overlap_the_alert_stays_clear() -> None:
    before = noise()
    after = hide(before, [(0.3, 0.3, 0.8, 0.7)], keep=BOX)
    assert (after[60:180, 80:160] == before[60:180, 80:160]).all()
    assert (after != before).any()


def test_a_large_picture_is_made_to_fit_a_screen() -> None:
    after = annotate(np.zeros((2160, 3840, 3), np.uint8), BOX, "person")
    assert after.shape == (720, MAX_SIDE_PX, 3)


def test_a_crop_shows_the_box_with_its_surroundings() -> None:
    part = crop(noise(), BOX)
    assert part.shape == (240, 160, 3)
    assert (part == noise()[0:240, 40:200]).all()


@given(
    st.tuples(*[st.floats(-2, 3) for _ in range(4)]),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_no_box_is_too_odd(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    assert annotate(picture, box, "x").shape == picture.shape
    assert hide(picture, [box], keep=box).shape == picture.shape
    assert min(crop(picture, box).shape[:2]) >= 1


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.1, 0.1), (0.9, 0.9, 1.0, 1.0)])
def test_a_label_at_the_edge_stays_in_the_picture(box: tuple[float, float, float, float]) -> None:
    before = np.zeros((100, 200, 3), np.uint8)
    assert (annotate(before, box, "a long label") == 255).all(axis=2).any()

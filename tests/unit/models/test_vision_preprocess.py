from __future__ import annotations

import numpy as np
import pytest

from models.vision.boxes import Boxes
from models.vision.preprocess import PADDING, letterbox, unletterbox

SIZE = (96, 128)


def frame(height: int, width: int, value: int = 200) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_no_frames_are_an_empty_batch_of_the_canvas() -> None:
    boxed = letterbox([], SIZE)
    assert len(boxed) == 0
    assert boxed.pixels.shape == (0, 3, *SIZE)
    assert boxed.size == SIZE


def test_frames_of_any_size_lie_in_the_corner_with_grey_beside_them() -> None:
    boxed = letterbox([frame(48, 48), frame(96, 128), frame(200, 100), frame(1, 1)], SIZE)
    expected = [(96, 96), (96, 128), (96, 48), (96, 96)]
    for pixels, (h, w) in zip(boxed.pixels, expected, strict=True):
        assert (pixels[:, :h, :w] == 200).all()
        assert (pixels[:, h:] == PADDING).all()
        assert (pixels[:, :, w:] == PADDING).all()
    assert boxed.scale.tolist() == [2.0, 1.0, 0.48, 96.0]
    assert boxed.shape.tolist() == [[48, 48], [96, 128], [200, 100], [1, 1]]


def test_a_sliver_keeps_at_least_one_pixel() -> None:
    boxed = letterbox([frame(1, 4000)], SIZE)
    assert (boxed.pixels[0, :, :1] == 200).all()


def test_channels_stay_in_the_order_of_the_frame() -> None:
    picture = frame(96, 128)
    picture[...] = (10, 20, 30)
    assert letterbox([picture], SIZE).pixels[0, :, 5, 5].tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a frame is"):
        letterbox([wrong], SIZE)


def boxes(*rows: tuple[float, float, float, float]) -> Boxes:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_no_boxes_come_back_as_none() -> None:
    assert unletterbox(boxes(), 0.5, (10, 10)).shape == (0, 4)


def test_boxes_are_cut_off_at_the_frame_where_its_shape_is_given() -> None:
    outside = boxes((-5, -5, 30, 20), (25, 0, 30, 5))
    cut = unletterbox(outside, 0.5, (20, 40))
    assert cut.tolist() == [[0, 0, 40, 20], [40, 0, 40, 10]]
    whole = unletterbox(outside, 0.5)
    assert whole.tolist() == [[-10, -10, 60, 40], [50, 0, 60, 10]]

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models.vision.boxes import Detections
from models.vision.grid import STRIDES, places
from models.vision.network import decode
from models.vision.postprocess import MAX_DETECTIONS, detections, suppress
from models.vision.preprocess import letterbox

SIZE = (64, 96)
COUNT = 8 * 12 + 4 * 6 + 2 * 3
CLASSES = 3


def outputs(*, frames: int = 1) -> npt.NDArray[np.float32]:
    """Nothing anywhere."""
    return np.zeros((frames, COUNT, 5 + CLASSES), np.float32)


def put(
    raw: npt.NDArray[np.float32], place: int, scores: tuple[float, ...], box: tuple[float, ...]
) -> None:
    raw[0, place, :4], raw[0, place, 4], raw[0, place, 5:] = box, 1.0, scores


def found(raw: npt.NDArray[np.float32], **options: Any) -> Detections:
    frames = letterbox([np.zeros((*SIZE, 3), np.uint8)] * len(raw), SIZE)
    given = {"confidence": 0.3, "iou_threshold": 0.65, **options}
    return detections(raw, frames, **given)[0]


def test_no_frames_give_no_lists() -> None:
    assert (
        detections(outputs(frames=0), letterbox([], SIZE), confidence=0.3, iou_threshold=0.5) == []
    )


def test_a_frame_with_nothing_gives_an_empty_list() -> None:
    nothing = found(outputs())
    assert (nothing.xyxy.shape, nothing.confidence.shape) == ((0, 4), (0,))
    assert nothing.class_id.dtype == np.int64


def test_places_are_counted_by_stride_then_row_by_row() -> None:
    cells, strides = places(SIZE)
    index = 0
    for stride in STRIDES:
        for y in range(SIZE[0] // stride):
            for x in range(SIZE[1] // stride):
                assert (*cells[index], strides[index, 0]) == (x, y, stride)
                index += 1
    assert index == len(cells) == COUNT


def test_boxes_are_decoded_by_the_reference_formula() -> None:
    raw = outputs()
    put(raw, 96 + 6 + 2, (0.1, 0.9, 0.2), (0.25, -0.5, 0.3, 0.1))  # stride 16, row 1, column 2
    one = found(raw, clip=False)
    x, y, w, h = (2 + 0.25) * 16, (1 - 0.5) * 16, math.exp(0.3) * 16, math.exp(0.1) * 16
    assert one.class_id.tolist() == [1]
    assert one.confidence[0] == pytest.approx(0.9)
    assert one.xyxy[0] == pytest.approx((x - w / 2, y - h / 2, x + w / 2, y + h / 2))


def test_the_network_decodes_as_serving_does() -> None:
    raw = np.random.default_rng(0).normal(size=(1, COUNT, 5 + CLASSES)).astype(np.float32)
    raw[..., 4:] = 0.9
    served = found(raw, iou_threshold=1.0, clip=False)
    centre, side = np.split(decode(torch.from_numpy(raw), SIZE)[0, :, :4].numpy(), 2, 1)
    every = np.concatenate((centre - side / 2, centre + side / 2), 1)
    assert len(served) == MAX_DETECTIONS
    np.testing.assert_allclose(served.xyxy, every[:MAX_DETECTIONS], rtol=1e-5, atol=1e-4)


def test_a_score_is_objectness_times_class_and_must_be_above_the_threshold() -> None:
    raw = outputs()
    put(raw, 0, (0.0, 0.0, 0.8), (0.5, 0.5, 0, 0))
    raw[0, 0, 4] = 0.5
    assert found(raw, confidence=0.39).confidence[0] == pytest.approx(0.4)
    assert len(found(raw, confidence=0.41)) == 0


def test_a_place_reports_its_best_class_or_all() -> None:
    raw = outputs()
    put(raw, 0, (0.5, 0.6, 0.1), (0.5, 0.5, 1, 1))
    assert found(raw).class_id.tolist() == [1]
    assert found(raw, labels="all").class_id.tolist() == [1, 0]


def test_a_box_beside_the_frame_is_dropped_and_one_across_its_edge_cut() -> None:
    raw = outputs()
    put(raw, 0, (0.9, 0, 0), (-3.0, 0.5, 0, 0))
    put(raw, 1, (0.9, 0, 0), (-1.0, 0.5, 0, 0))
    assert found(raw).xyxy.tolist() == [[0, 0, 4, 8]]
    assert len(found(raw, clip=False)) == 2


def test_an_absurd_offset_gives_the_whole_frame() -> None:
    raw = outputs()
    put(raw, 0, (0.9, 0, 0), (0.0, 0.0, 200.0, 200.0))
    assert found(raw).xyxy.tolist() == [[0, 0, SIZE[1], SIZE[0]]]


def test_outputs_that_are_not_numbers_are_an_error_and_not_an_empty_frame() -> None:
    raw = outputs()
    raw[0, 7] = np.nan
    with pytest.raises(FloatingPointError, match="not numbers"):
        found(raw)


def test_suppressing_nothing_leaves_nothing() -> None:
    assert len(suppress(Detections.empty(), 0.5)) == 0


def test_the_weaker_of_two_that_overlap_goes_unless_it_is_of_another_class() -> None:
    xyxy = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10]], np.float32)
    some = Detections(xyxy, np.array([0.5, 0.9, 0.8], np.float32), np.array([0, 0, 1]))
    kept = suppress(some, 0.5)
    assert kept.class_id.tolist() == [0, 1]
    assert kept.confidence == pytest.approx([0.9, 0.8])

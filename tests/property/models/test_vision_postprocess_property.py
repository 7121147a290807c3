"""Boxes find the way back from the canvas; suppression is the textbook's."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vision.boxes import Detections, iou
from models.vision.postprocess import suppress
from models.vision.preprocess import letterbox, unletterbox

sides = st.integers(1, 400)
canvas = st.sampled_from([(32, 32), (96, 128), (416, 416), (256, 416)])


@settings(deadline=None, max_examples=60)
@given(
    height=sides,
    width=sides,
    size=canvas,
    corners=st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5),
)
def test_boxes_of_the_frame_come_back_from_the_canvas(
    height: int, width: int, size: tuple[int, int], corners: list[tuple[float, ...]]
) -> None:
    boxed = letterbox([np.zeros((height, width, 3), np.uint8)], size)
    relative = np.array(corners, np.float32).reshape(-1, 2, 2)
    low, high = relative.min(1), relative.max(1)
    frame = np.concatenate((low, high), 1) * np.array([width, height] * 2, np.float32)
    on_canvas = (frame * boxed.scale[0]).astype(np.float32)
    assert (on_canvas <= np.array([size[1], size[0]] * 2) + 1e-3).all()
    back = unletterbox(on_canvas, boxed.scale[0], (height, width))
    np.testing.assert_allclose(back, frame, atol=1e-3, rtol=1e-6)


def naive(found: Detections, threshold: float) -> list[int]:
    """Best first; whoever overlaps one of its class that is kept goes."""
    kept: list[int] = []
    overlap = iou(found.xyxy, found.xyxy)
    for i in np.argsort(-found.confidence, kind="stable"):
        rivals = [k for k in kept if found.class_id[k] == found.class_id[i]]
        if all(overlap[i, k] <= threshold for k in rivals):
            kept.append(int(i))
    return kept


@settings(deadline=None, max_examples=80)
@given(count=st.integers(0, 60), seed=st.integers(0, 2**16), threshold=st.floats(0.1, 0.9))
def test_suppression_is_greedy_within_each_class(count: int, seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (count, 2))
    xyxy = np.concatenate((low, low + rng.uniform(1, 60, (count, 2))), 1).astype(np.float32)
    found = Detections(
        xyxy, rng.permutation(count).astype(np.float32) / 100 + 0.1, rng.integers(0, 3, count)
    )
    kept = suppress(found, threshold)
    expected = found.take(np.array(naive(found, threshold), np.int64))
    np.testing.assert_array_equal(kept.xyxy, expected.xyxy)
    np.testing.assert_array_equal(kept.class_id, expected.class_id)

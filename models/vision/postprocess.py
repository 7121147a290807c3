"""From the network's outputs to detections: threshold, decode, suppress the overlapping."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from models.vision.boxes import Boxes, Detections, area
from models.vision.grid import places
from models.vision.preprocess import Letterboxed, unletterbox

Floats = npt.NDArray[np.float32]
Labels = Literal["best", "all"]
"""Whether a place reports its best class only, or every class above the threshold.

An object has one class, so ``best`` is for alerts. COCO's average precision ranks classes apart and
rewards second guesses, so the published figures are computed with ``all``.
"""

CANDIDATES = 1000
"""Places of a frame that suppression looks at, best first: it compares each with each."""
MAX_DETECTIONS = 100
"""Objects of a frame, best first, as COCO counts them."""


def detections(
    raw: Floats,
    frames: Letterboxed,
    *,
    confidence: float,
    iou_threshold: float,
    labels: Labels = "best",
    clip: bool = True,
) -> list[Detections]:
    """What was found in each of B frames, in pixels of that frame, best first.

    Args:
        raw: (B, A, 5 + C) box offsets, objectness and class probabilities in [0, 1].
        frames: what the network saw.
        confidence: objectness times class probability must be above it.
        iou_threshold: of two boxes of one class that overlap more, the weaker one goes.
        labels: see `Labels`.
        clip: cut the boxes off at the frame's edges; what is left without area goes.

    Raises:
        FloatingPointError: the network's outputs are not numbers: nothing found would be a lie.
    """
    if np.isnan(raw[..., 4]).any():
        raise FloatingPointError("the detector's outputs are not numbers")
    cells, strides = places(frames.size)
    found = []
    for place, scale, shape in zip(raw, frames.scale, frames.shape, strict=True):
        index, class_id, score = _candidates(place, confidence, labels)  # (N,) each
        boxes = _decode(place[index, :4], cells[index], strides[index])  # (N, 4)
        boxes = unletterbox(boxes, scale, (int(shape[0]), int(shape[1])) if clip else None)
        one = Detections(boxes, score, class_id).take(area(boxes) > 0)
        one = suppress(one, iou_threshold)
        found.append(one.take(np.arange(min(len(one), MAX_DETECTIONS))))
    return found


def suppress(found: Detections, iou_threshold: float) -> Detections:
    """Class-aware non-maximum suppression, best first; of equals the earlier stays."""
    if not len(found):
        return found
    xywh = np.concatenate((found.xyxy[:, :2], found.xyxy[:, 2:] - found.xyxy[:, :2]), 1)
    kept = cv2.dnn.NMSBoxesBatched(
        xywh.tolist(), found.confidence.tolist(), found.class_id.tolist(), 0.0, iou_threshold
    )
    return found.take(np.asarray(kept, np.int64).reshape(-1))


def _candidates(
    place: Floats, confidence: float, labels: Labels
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Place, class and score of what is above the threshold, at most `CANDIDATES`, best first."""
    # A score is never above its objectness, and few places have any: only these are looked at.
    some = np.flatnonzero(place[:, 4] > confidence)  # (M,)
    scores = place[some, 4:5] * place[some, 5:]  # (M, C)
    if labels == "all":
        row, class_id = np.nonzero(scores > confidence)
    else:
        best = scores.argmax(1)
        row = np.flatnonzero(scores[np.arange(len(best)), best] > confidence)
        class_id = best[row]
    score = scores[row, class_id]  # (N,)
    order = np.argsort(-score, kind="stable")[:CANDIDATES]
    return some[row[order]], class_id[order].astype(np.int64), score[order]


def _decode(offsets: Floats, cells: Floats, strides: Floats) -> Boxes:
    """(N, 4) offsets to x1, y1, x2, y2 on the canvas; the formula of `models.vision.network`."""
    centre = (offsets[:, :2] + cells) * strides
    with np.errstate(over="ignore"):  # of an untrained network; the frame's edge cuts it off
        half = np.exp(offsets[:, 2:]) * strides / 2
    out: Boxes = np.concatenate((centre - half, centre + half), 1)
    return out

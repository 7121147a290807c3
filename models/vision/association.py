"""Which detection is which track."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from models.vision.boxes import Boxes, iou

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def similarity(a: Boxes, b: Boxes, margin: float) -> Floats:
    """How alike two boxes are, for every pair: overlap, times overlap of their vertical extents.

    People are about as tall from frame to frame, and one who stands further back ends higher up; so
    height tells neighbours apart where widths overlap (Yang et al., Hybrid-SORT, AAAI 2024). The
    boxes grow by a margin first, so that fast and small ones overlap themselves (Yang et al.,
    C-BIoU tracker, WACV 2023).

    Args:
        a: (N, 4), may be empty.
        b: (M, 4), may be empty.
        margin: on each side, in widths and heights of the box.

    Returns:
        (N, M) float64 in [0, 1].
    """
    shared = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    spanned = np.maximum(a[:, None, 3], b[None, :, 3]) - np.minimum(a[:, None, 1], b[None, :, 1])
    upright = np.maximum(shared, 0.0) / np.maximum(spanned, 1e-9)  # (N, M)
    likeness: Floats = _overlap(a, b, margin) * upright.astype(np.float64)
    return likeness


def pair(score: Floats, least: float) -> tuple[Ints, Ints]:
    """The one-to-one pairing of (N, M) rows and columns with the highest sum of scores.

    Returns:
        rows, columns: (K,) each, pairs whose score is at least `least` > 0.
    """
    rows, columns = linear_sum_assignment(np.where(score >= least, score, 0.0), maximize=True)
    good = score[rows, columns] >= least
    return rows[good], columns[good]


def camera_shift(predicted: Boxes, detected: Boxes, *, margin: float, least: int) -> Floats:
    """How far the whole picture has moved against what the tracks predict.

    A camera that pans moves all objects alike, each by its own motion more or less: the median over
    the pairs is the camera's part. It is drawn towards 0 where few speak for it, and is 0 below
    `least` pairs.

    Args:
        predicted: (N, 4) of tracks seen lately.
        detected: (M, 4) sure detections.
        margin: by which boxes grow, more than for the pairing proper.
        least: pairs.

    Returns:
        (2,) pixels, x and y.
    """
    rows, columns = pair(_overlap(predicted, detected, margin), _SHIFT_OVERLAP)
    if len(rows) < least:
        return np.zeros(2)
    moved = (detected[columns] - predicted[rows]).astype(np.float64)  # (K, 4)
    centres = np.sort((moved[:, :2] + moved[:, 2:]) / 2, axis=0)
    # Numpy's own median takes ten times as long over so few.
    median = (centres[(len(rows) - 1) // 2] + centres[len(rows) // 2]) / 2
    shift: Floats = median * len(rows) / (len(rows) + _SHIFT_DOUBT)
    return shift


_SHIFT_OVERLAP = 0.3
_SHIFT_DOUBT = 3.0  # pairs that would say 0


def _overlap(a: Boxes, b: Boxes, margin: float) -> Floats:
    """(N, M) overlap of grown boxes."""
    return iou(_grown(a, margin), _grown(b, margin)).astype(np.float64)


def _grown(xyxy: Boxes, margin: float) -> Boxes:
    size = margin * (xyxy[:, 2:] - xyxy[:, :2])
    return np.concatenate([xyxy[:, :2] - size, xyxy[:, 2:] + size], 1)

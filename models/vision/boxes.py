"""Boxes and detections: the one currency of detector, tracker and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
"""(N, 4) float32, x1, y1, x2, y2 in pixels of the frame; x2 > x1 and y2 > y1."""


@dataclass(frozen=True, slots=True)
class Detections:
    """N objects found in one frame.

    Attributes:
        xyxy: (N, 4) float32, pixels of the original frame.
        confidence: (N,) float32 in [0, 1].
        class_id: (N,) int64, place in the detector's list of class names.
    """

    xyxy: Boxes
    confidence: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> Detections:
        """Nothing found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def take(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Detections:
        """Those of a mask (N,) or of indices."""
        return Detections(self.xyxy[index], self.confidence[index], self.class_id[index])


def area(xyxy: Boxes) -> npt.NDArray[np.float32]:
    """(N,) float32, square pixels."""
    size: npt.NDArray[np.float32] = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
    return size


def iou(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union of every pair.

    Args:
        a: (N, 4), may be empty.
        b: (M, 4), may be empty.

    Returns:
        (N, M) float32 in [0, 1]; 0 where two boxes have no area.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)  # (N, M)
    union = area(a)[:, None] + area(b)[None, :] - shared
    out: npt.NDArray[np.float32] = np.where(union > 0, shared / np.maximum(union, 1e-9), 0.0)
    return out.astype(np.float32)

"""Boxes and detections: the one currency of detector, tracker and evaluation."""

from __future__ import annotations

from dataclasses import dataclass, fields

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


TENTATIVE, CONFIRMED = 1, 2
"""Status of a track: seen too few times to be believed, or believed."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """N objects followed from frame to frame, as they are in one frame.

    Attributes:
        xyxy: (N, 4) float32, pixels of the frame; predicted where the object was not seen.
        confidence: (N,) float32 in [0, 1], of the last detection.
        class_id: (N,) int64.
        tracker_id: (N,) int64 from 1, never given twice by one tracker.
        hits: (N,) int64, detections so far.
        age_s: (N,) float64, seconds since the first one.
        unseen_s: (N,) float64, seconds since the last one: 0 where it is of this frame, more where
            the object is lost.
        status: (N,) uint8, TENTATIVE or CONFIRMED.
    """

    xyxy: Boxes
    confidence: npt.NDArray[np.float32]
    class_id: npt.NDArray[np.int64]
    tracker_id: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    age_s: npt.NDArray[np.float64]
    unseen_s: npt.NDArray[np.float64]
    status: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.xyxy)

    def take(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Tracks:
        """Those of a mask (N,) or of indices."""
        return Tracks(*(getattr(self, field.name)[index] for field in fields(self)))

    def seen(self) -> Tracks:
        """The confirmed ones that were detected in this frame."""
        return self.take((self.status == CONFIRMED) & (self.unseen_s == 0))


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
    size = np.maximum(high - low, 0.0)  # (N, M, 2)
    shared = size[..., 0] * size[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - shared
    out: npt.NDArray[np.float32] = np.where(union > 0, shared / np.maximum(union, 1e-9), 0.0)
    return out.astype(np.float32)

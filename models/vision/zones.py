"""Geometry of zones and lines, in shares of the frame: (0, 0) is its top left, (1, 1) bottom right.

So a zone fits whatever resolution a camera sends.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.vision.boxes import Boxes

Points = npt.NDArray[np.float64]
"""(N, 2) float64, x and y in [0, 1]."""

_EDGE = 1e-6  # keeps feet on the frame's edge inside a zone that ends there


def anchors(xyxy: Boxes, width: int, height: int) -> Points:
    """Where objects stand: the middle of the lower edge of (N, 4) boxes, within the frame."""
    boxes = xyxy.astype(np.float64)
    feet = np.stack([(boxes[:, 0] + boxes[:, 2]) / (2 * width), boxes[:, 3] / height], 1)
    return np.clip(feet, _EDGE, 1 - _EDGE)


def inside(points: Points, polygon: Points) -> npt.NDArray[np.bool_]:
    """Which of (N, 2) points lie in a polygon of (P, 2) corners, by the even-odd rule.

    A point on an edge belongs to one of the two polygons that share the edge.
    """
    x, y = points[:, :1], points[:, 1:]  # (N, 1)
    (ax, ay), (bx, by) = polygon.T, np.concatenate([polygon[1:], polygon[:1]]).T  # (P,)
    spans = (ay > y) != (by > y)  # (N, P): the edge crosses the height of the point
    rise = np.where(by == ay, 1.0, by - ay)  # a level edge spans no height
    right = x < ax + (y - ay) * (bx - ax) / rise  # and does so to the right of it
    odd: npt.NDArray[np.bool_] = (spans & right).sum(1) % 2 == 1
    return odd


def crossings(before: Points, after: Points, line: Points) -> npt.NDArray[np.int64]:
    """Which of N movements cross a line, and to which side.

    Args:
        before: (N, 2) where each object was.
        after: (N, 2) where it is.
        line: (2, 2) its two ends.

    Returns:
        (N,) 1 where the object came to the right-hand side, seen from the line's first end to its
        second; -1 to the left; 0 where it did not cross. The way back gives the opposite sign.
    """
    was, now = _right(before, line[0], line[1]), _right(after, line[0], line[1])
    # The movement passes between the line's ends if they lie on two sides of it. Ordered ends make
    # that the same question for the way there and back, also where an end lies on the path.
    swap = (before[:, :1] > after[:, :1]) | (
        (before[:, :1] == after[:, :1]) & (before[:, 1:] > after[:, 1:])
    )
    low, high = np.where(swap, after, before), np.where(swap, before, after)
    between = _right(line[:1], low, high) != _right(line[1:], low, high)
    return np.where(between, now.astype(np.int64) - was.astype(np.int64), 0)


def _right(points: Points, start: Points, end: Points) -> npt.NDArray[np.bool_]:
    """Whether points are on a path or to the right of it, looking along it (y grows downwards)."""
    along, off = end - start, points - start
    cross: Points = along[..., 0] * off[..., 1] - along[..., 1] * off[..., 0]
    return cross >= 0

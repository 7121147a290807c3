"""Pictures for people: what an alert is about is framed, who it is not about may be blurred."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from models.vision.images import Picture

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in shares of the picture."""

MAX_SIDE_PX = 1280
"""A snapshot is for a screen, and bounded in bytes by it."""

_COLOUR = (48, 59, 255)  # BGR: a red that is none of a street's
_DARK = (32, 32, 32)
_MARGIN = 0.5
"""Around a crop, in sizes of the box: a face without its surroundings tells little."""


def hide(picture: Picture, others: Sequence[Box], *, keep: Box) -> Picture:
    """Make what is in `others` unreadable, on a copy; where one overlaps `keep`, that stays."""
    out = picture.copy()
    for other in others:
        _blur(out, _pixels(other, out))
    x1, y1, x2, y2 = _pixels(keep, out)
    out[y1:y2, x1:x2] = picture[y1:y2, x1:x2]
    return out


def annotate(picture: Picture, box: Box, label: str, caption: str = "") -> Picture:
    """Draw a box and its label on a copy that fits a screen, and a caption at the bottom left."""
    out = _fitted(picture)
    x1, y1, x2, y2 = _pixels(box, out)
    thickness = max(2, round(min(out.shape[:2]) / 240))
    cv2.rectangle(out, (x1, y1), (x2 - 1, y2 - 1), _COLOUR, thickness)
    if caption:  # first: the label of a low box stays readable
        _write(out, caption, (0, out.shape[0]), thickness, _DARK)
    _write(out, label, (x1, y1), thickness, _COLOUR)
    return out


def crop(picture: Picture, box: Box) -> Picture:
    """Cut out what the alert is about, with its surroundings; at least a pixel."""
    wide, high = box[2] - box[0], box[3] - box[1]
    larger = (
        box[0] - _MARGIN * wide,
        box[1] - _MARGIN * high,
        box[2] + _MARGIN * wide,
        box[3] + _MARGIN * high,
    )
    x1, y1, x2, y2 = _pixels(larger, picture)
    return _fitted(picture[y1:y2, x1:x2])


def _fitted(picture: Picture) -> Picture:
    """Copy, no larger than `MAX_SIDE_PX`."""
    scale = MAX_SIDE_PX / max(picture.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(picture).copy()
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _pixels(box: Box, picture: Picture) -> tuple[int, int, int, int]:
    """Corners in pixels within the picture, of at least one."""
    height, width = picture.shape[:2]
    x1 = min(max(int(box[0] * width), 0), width - 1)
    y1 = min(max(int(box[1] * height), 0), height - 1)
    x2 = min(max(round(box[2] * width), x1 + 1), width)
    y2 = min(max(round(box[3] * height), y1 + 1), height)
    return x1, y1, x2, y2


def _blur(picture: Picture, corners: tuple[int, int, int, int]) -> None:
    """Reduce to a few blocks: a blur with a known kernel can be undone, lost pixels cannot."""
    x1, y1, x2, y2 = corners
    part = picture[y1:y2, x1:x2]
    few = max(1, min(6, part.shape[1] // 4)), max(1, min(8, part.shape[0] // 4))
    small = cv2.resize(part, few, interpolation=cv2.INTER_AREA)
    size = part.shape[1], part.shape[0]
    picture[y1:y2, x1:x2] = cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)


def _write(
    picture: Picture,
    text: str,
    corner: tuple[int, int],
    thickness: int,
    colour: tuple[int, int, int],
) -> None:
    """Write above the corner, or below it at the picture's top."""
    scale = thickness / 4
    (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = max(min(corner[0], picture.shape[1] - wide - 4), 0)
    y = corner[1] - 4 if corner[1] >= high + 8 else corner[1] + high + 6
    cv2.rectangle(picture, (x, y - high - 4), (x + wide + 4, y + 4), colour, cv2.FILLED)
    white = (255, 255, 255)
    at = (x + 2, y)
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, white, 1, cv2.LINE_AA)

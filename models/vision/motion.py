"""Whether anything moves: two pictures shrunk to a few thousand cells and compared.

A cell is the mean of a hundred pixels or more, so the noise of a sensor and the blocks of a JPEG
vanish in it and an arm does not. What changes everywhere at once is the light, not a burglar: the
median change is taken off first.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from models.vision.images import Picture

CELLS = (48, 64)
"""Rows and columns."""

Thumbnail = npt.NDArray[np.uint8]
"""(48, 64) uint8, brightness."""


def thumbnail(picture: Picture) -> Thumbnail:
    """Shrink a picture (H, W, 3) of any size. Frees the GIL."""
    small = cv2.resize(picture, (CELLS[1], CELLS[0]), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]  # uint8 as it came


def change(before: Thumbnail, after: Thumbnail) -> float:
    """Return the largest change of a cell, in [0, 1] of full brightness, light taken off."""
    difference = after.astype(np.int16) - before
    difference -= np.int16(np.median(difference))
    return float(np.abs(difference).max()) / 255.0

"""The places that YOLOX judges: the cells of three grids laid over its input."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

STRIDES: Final = (8, 16, 32)
"""Pixels a cell, one grid each; both sides of the input are multiples of the last."""


@lru_cache(maxsize=16)
def places(size: tuple[int, int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Cell x, y of every place, (A, 2), and its stride in pixels, (A, 1).

    In the order of the network's outputs: by stride, then row by row. The arrays are shared.

    Args:
        size: (H, W) of the input.
    """
    cells, strides = [], []
    for stride in STRIDES:
        h, w = size[0] // stride, size[1] // stride
        y, x = np.mgrid[:h, :w].astype(np.float32)  # (h, w) each
        cells.append(np.stack((x, y), 2).reshape(-1, 2))
        strides.append(np.full((h * w, 1), stride, np.float32))
    return np.concatenate(cells), np.concatenate(strides)

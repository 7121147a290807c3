"""Batches of any size as calls of a few sizes, fewer frames at a time when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

SIZES: Final = (1, 2, 4, 8, 16, 32)
"""Frames a call. Each size costs a GPU memory and time when it first comes: hence a few only."""

Call = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""(N, ...) frames to (N, ...) outputs."""


class Buckets:
    """Cuts batches into calls that a device can take, and remembers how much that is.

    Args:
        out_of_memory: what a call raises when the device's memory does not suffice.
        pad: fill a call up with empty frames to the next of `SIZES`; where every size costs the
            same (a CPU), padding is only waste.
    """

    def __init__(self, out_of_memory: type[Exception], *, pad: bool) -> None:
        self._out_of_memory = out_of_memory
        self._pad = pad
        self.limit = SIZES[-1]
        """Frames a call at most; halved for good when a call of that size runs out of memory."""

    def run(self, frames: npt.NDArray[np.uint8], call: Call) -> npt.NDArray[np.float32]:
        """Outputs of all frames (B > 0, ...), in their order.

        Raises:
            Exception: the `out_of_memory` of a call with a single frame.
        """
        parts, start = [], 0
        while start < len(frames):
            part = frames[start : start + self.limit]
            padded = self._padded(part)
            try:
                outputs = call(padded)
            except self._out_of_memory:
                if len(padded) == 1:
                    raise
                self.limit = max(size for size in SIZES if size < len(padded))
                continue
            parts.append(outputs[: len(part)])
            start += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _padded(self, part: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        missing = next(size for size in SIZES if size >= len(part)) - len(part)
        if not self._pad or not missing:
            return part
        return np.concatenate((part, np.zeros((missing, *part.shape[1:]), np.uint8)))

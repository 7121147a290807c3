"""How fast transactions go out: flat out, at a rate, or along their own event time."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

# Rows handed on at once: large enough to fill batches, small enough for labels to keep up.
CHUNK = 10_000


class Pace(Protocol):
    """Says how many rows may go. It holds no clock: the caller tells it the time."""

    def allowed(self, event_time: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:
        """Count how many of the next rows may go now.

        `event_time` holds those rows' times (ms, rising, at least one), `sent` is how many rows
        went before them, `elapsed_s` the time since the start.
        """
        ...


class FlatOut:
    """As fast as the broker takes them."""

    def allowed(self, event_time: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:
        """Allow one chunk."""
        return min(len(event_time), CHUNK)


class AtRate:
    """Evenly, so many a second; after a pause it catches up."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s

    def allowed(self, event_time: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:
        """Allow what the rate has brought up to now."""
        return max(0, min(len(event_time), CHUNK, int(elapsed_s * self._per_s) - sent))


class AlongEventTime:
    """Each row when its event time comes, with the clock of the events running faster."""

    def __init__(self, speed_up: float) -> None:
        self._speed_up = speed_up
        self._first_ms: int | None = None

    def allowed(self, event_time: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:
        """Allow what has happened by now; the first row happens at the start."""
        if self._first_ms is None:
            self._first_ms = int(event_time[0])
        now_ms = self._first_ms + elapsed_s * self._speed_up * 1000.0
        return min(CHUNK, int(np.searchsorted(event_time, now_ms, side="right")))

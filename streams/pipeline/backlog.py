"""Events that wait for their batch, and how they are joined into it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any


class Backlog:
    """A queue of Faust events, each a batch of one partition.

    Use from one event loop, whose clock it goes by.

    Args:
        max_records: records that are joined into one batch; a larger event goes alone.
        wait_s: how long the first event may wait for the batch to fill up.
    """

    def __init__(self, *, max_records: int, wait_s: float) -> None:
        self._max_records, self._wait_s = max_records, wait_s
        self._waiting: deque[tuple[Any, float]] = deque()  # events and when they came
        self._records = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, event: Any) -> None:
        """Queue an event."""
        self._waiting.append((event, _now()))
        self._records += len(event.value.records)

    def fills_for(self) -> float:
        """Seconds for which it is worth waiting for more; at most 0 if the batch should start."""
        if not self._wait_s or self._records >= self._max_records:
            return 0.0
        return self._waiting[0][1] + self._wait_s - _now()

    def take(self) -> tuple[list[Any], float]:
        """Take the events of the next batch; with the seconds that the first one has waited."""
        arrived = self._waiting[0][1]
        events: list[Any] = []
        taken = 0
        while self._waiting:
            more = len(self._waiting[0][0].value.records)
            if events and taken + more > self._max_records:
                break
            events.append(self._waiting.popleft()[0])
            taken += more
        self._records -= taken
        return events, _now() - arrived


def _now() -> float:
    return asyncio.get_running_loop().time()

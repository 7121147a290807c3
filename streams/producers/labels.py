"""Verdicts that wait for their time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from models.fraud.transactions import Transactions


class LabelQueue:
    """Holds transactions until their verdict is `delay_ms` old enough to be known.

    First in, first out: the delay is the same for all, so verdicts come in event time's order.
    """

    def __init__(self, delay_ms: int) -> None:
        self._delay_ms = delay_ms
        self._waiting: deque[Transactions] = deque()

    def add(self, rows: Transactions) -> None:
        """Take transactions that happened after all that were added before."""
        if len(rows):
            self._waiting.append(rows)

    def due(self, now_ms: int) -> Iterator[Transactions]:
        """Give up the transactions whose verdict is known at `now_ms` of event time."""
        while self._waiting:
            first = self._waiting[0]
            count = int(np.searchsorted(first.event_time, now_ms - self._delay_ms, side="right"))
            if count < len(first):
                if count:
                    self._waiting[0] = first.take(slice(count, None))
                    yield first.take(slice(count))
                return
            yield self._waiting.popleft()

"""Notices that a worker stands still, and why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from streams.errors import BrokerError, Stuck, TopicMissing
from streams.metrics import Metrics
from streams.pipeline.positions import Positions
from streams.status import Status

LOOK_S = 1.0
"""How often it looks."""

ASK_S, ASK_IDLE_S = 4.0, 30.0
"""After so long without a record it asks whether Kafka is there at all: at a lag, and without."""

ABSENT_S = 5.0
"""A look that comes so late: the process itself was stopped, or the machine was. It did not stand
still for a reason of its own, and must be given the time to notice what happened meanwhile."""


class Watchdog:
    """Publishes the lag, and ends a worker that stands still for no reason that has a name.

    A partition that stands still beside others that move on does not end them: its broker may be
    away, or its batches wait behind theirs. Since when it does is published, for an alarm.

    Args:
        progress: gives for each partition up to where everything is stored, and the log's end.
        published: how many messages the broker has taken; while it takes more of a batch's alerts,
            however slowly, the worker does not stand still.
        positions: told of that, too.
        ask: asks Kafka anything; raises `BrokerError` if it is away.
        ends: asks for the log's end of each partition; raises `BrokerError` as well. What the
            fetches tell of it is nothing, where none is answered.
        metrics: told of the lag.
        status: knows what has a name; told that Kafka is away.
        stuck_after_s: how long it may stand still.
    """

    def __init__(
        self,
        *,
        progress: Callable[[], Mapping[int, tuple[int, int]]],
        published: Callable[[], int],
        positions: Positions,
        ask: Callable[[], Awaitable[object]],
        ends: Callable[[], Awaitable[Mapping[int, int]]],
        metrics: Metrics,
        status: Status,
        stuck_after_s: float,
    ) -> None:
        self._progress, self._published = progress, published
        self._positions, self._ask, self._ask_ends = positions, ask, ends
        self._metrics, self._status = metrics, status
        self._stuck_after_s = stuck_after_s
        self._reached: dict[int, int] = {}
        self._ends: Mapping[int, int] = {}

    async def run(self) -> None:
        """Look for ever.

        Raises:
            Stuck: no progress at a lag, and nothing named is waited for.
        """
        await asyncio.gather(self._look_for_ever(), self._learn_ends())

    async def _learn_ends(self) -> None:
        while True:
            await asyncio.sleep(ASK_IDLE_S)
            with suppress(BrokerError):  # who looks finds out, and waits
                self._ends = await self._ask_ends()

    async def _look_for_ever(self) -> None:
        position = -1, -1
        moved = since = asked = time.monotonic()
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            reached, lag = self._look()
            done = reached, self._published()
            if done != position or now - before > LOOK_S + ABSENT_S:
                position, moved = done, now
            if moved == now or not lag or self._status.is_waiting:
                since = now
            elif now - since > self._stuck_after_s:
                raise Stuck(
                    f"no progress for {self._stuck_after_s:.0f} s at a lag of {lag} records"
                )
            if now - moved > ASK_S and now - asked > (ASK_S if lag else ASK_IDLE_S):
                was_away = await self._until_kafka_answers()
                asked = time.monotonic()
                since = asked if was_away else since

    def _look(self) -> tuple[int, int]:
        """How far all partitions have come together, and how far they are behind."""
        lag, before, self._reached = 0, self._reached, {}
        for partition, (reached, end) in self._progress().items():
            self._positions.reach(partition, reached)
            behind = max(max(end, self._ends.get(partition, 0)) - reached, 0)
            self._metrics.set_lag(partition, behind)
            if not behind or reached != before.get(partition):
                self._metrics.moves(partition)
            lag, self._reached[partition] = lag + behind, reached
        return sum(self._reached.values()), lag

    async def _until_kafka_answers(self) -> bool:
        """Wait for a broker that is away; return whether it was.

        A consumer fetches in vain without a word, and who has nothing to send would not notice.
        """
        was_away = False
        with self._status.waiting("Kafka") as wait:
            while True:
                try:
                    await self._ask()
                except TopicMissing:
                    return was_away  # the next rebalance says what to do
                except BrokerError as error:
                    was_away = True
                    await asyncio.sleep(wait.because(error))
                else:
                    return was_away

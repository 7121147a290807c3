"""aiokafka's side of a consumer: positions and fetches, on a thread that knows no flow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from streams.simulation.broker import TOPIC, Broker, LogRecord, Membership
from streams.simulation.commits import TP
from streams.transport.fetch import FetchedRecords
from streams.transport.offsets import BatchLedger

FETCH_S: Final = 1.0
"""A fetch that began earlier brings nothing."""


class Fetcher:
    """Reads the partitions of one consumer.

    Args:
        member: whose consumer it is.
        broker: what is read.
        ledger: stamps what is fetched, and learns of seeks.
        records: of one partition that one fetch brings at most.
        delay: draws how long a request takes.
    """

    def __init__(
        self,
        member: Membership,
        broker: Broker,
        ledger: BatchLedger,
        records: int,
        delay: Callable[[], float],
    ) -> None:
        self._member, self._broker, self._ledger = member, broker, ledger
        self._records, self._delay = records, delay
        self._position: dict[int, int] = {}
        self._is_paused = False
        self.is_reassigning = False
        """The group is at it: fetches wait."""

    def assign(self, partitions: tuple[int, ...]) -> None:
        """Read these from their commits, once `resume` is called."""
        commits = self._broker.group.commits
        self._position = {one: commits.get(one, 0) for one in partitions}
        self._is_paused, self.is_reassigning = True, False

    def resume(self) -> None:
        """Let partitions be read."""
        self._is_paused = False
        self._broker.wake()

    def seek(self, starts: Mapping[int, int]) -> None:
        """Go on from these offsets; what was fetched before is stale."""
        for partition, start in starts.items():
            self._position[partition] = start
            self._ledger.moved(TP(TOPIC, partition))

    async def take(self) -> dict[TP, FetchedRecords]:
        """Wait for records, for a while.

        A fetch that waits goes on with what has been assigned meanwhile: from the commit, if the
        seek has not come yet.
        """
        clock = asyncio.get_running_loop()
        deadline = clock.time() + FETCH_S
        await asyncio.sleep(self._delay() if self._position else FETCH_S)
        while clock.time() < deadline:
            found = self._available()
            if found:
                return found
            await self._broker.more()
        return {}

    def _available(self) -> dict[TP, FetchedRecords]:
        found: dict[TP, FetchedRecords] = {}
        if self.is_reassigning or self._is_paused or not self._member.reachable:
            return found
        for partition, position in self._position.items():
            records, following = self._broker.logs[partition].read(position, self._records)
            if following == position:
                continue
            tp = TP(TOPIC, partition)
            move = self._ledger.moves(tp)  # the stamp and the new position are one step
            self._position[partition] = following
            raw: list[Any] = list[LogRecord](records)
            found[tp] = FetchedRecords(raw, start=position, next_offset=following, move=move)
        return found

"""What Faust's consumer commits, by the rules of `streams/transport/consumer.py`.

The longest prefix of batches that are done, never below what Kafka holds; what was refused is owed
until it is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from streams.simulation.broker import TOPIC, Group, Membership
from streams.simulation.faults import Faults
from streams.transport.offsets import BatchLedger


class TP(NamedTuple):
    """A partition of a topic; equal to Faust's of the same."""

    topic: str
    partition: int


class Commits:
    """The commits of one consumer."""

    def __init__(
        self,
        *,
        member: Membership,
        group: Group,
        ledger: BatchLedger,
        faults: Faults,
        delay: Callable[[], float],
    ) -> None:
        self.assigned: tuple[int, ...] = ()
        """Partitions that the consumer has."""

        self._member, self._group, self._ledger = member, group, ledger
        self._faults, self._delay = faults, delay
        self._floor: Final[dict[int, int]] = {}
        self._owed: Final[dict[int, int]] = {}
        self._under_way: asyncio.Future[None] | None = None

    def known(self, commits: Mapping[int, int | None]) -> None:
        """Take what Kafka holds as the floor of later commits."""
        self._floor.update({one: at for one, at in commits.items() if at})

    def forget_floor(self) -> None:
        """Know nothing of what Kafka holds."""
        self._floor.clear()

    def forget_owed(self) -> None:
        """Owe nothing."""
        self._owed.clear()

    async def commit(self) -> None:
        """Commit what is done; who comes while one commits waits for that, and does nothing."""
        if self._under_way is not None:
            await self._under_way
            return
        done = self._under_way = asyncio.get_running_loop().create_future()
        try:
            offsets = self._committable()
            if offsets:
                kept = self._floor if await self._send(offsets) else self._owed
                kept.update({one: at for one, at in offsets.items() if one in self.assigned})
        finally:
            self._under_way = None
            done.set_result(None)

    def _committable(self) -> dict[int, int]:
        found = {}
        known = {tp.partition for tp in self._ledger.partitions()} | self._owed.keys()
        for partition in sorted(known):
            end = self._ledger.commit_offset(TP(TOPIC, partition))
            owed = self._owed.pop(partition, None)
            offset = owed if end is None else end
            if offset is None or partition not in self.assigned:
                continue
            floor = self._floor.get(partition)
            if floor is None or offset > floor:
                found[partition] = offset
        return found

    async def _send(self, offsets: Mapping[int, int]) -> bool:
        await asyncio.sleep(self._delay())
        if not self._member.reachable or self._faults.strikes("commit refused"):
            return False
        taken = self._group.commit(self._member, offsets)
        await asyncio.sleep(self._delay())
        return taken and not self._faults.strikes("commit answer lost")

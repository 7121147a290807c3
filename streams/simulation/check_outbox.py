"""What must hold where alerts wait in an outbox for the flush that stores them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from typing_extensions import override

from streams.pipeline.batch import Message
from streams.simulation.broker import LogRecord
from streams.simulation.chain import ALERTS
from streams.simulation.check import Check
from streams.simulation.store import Server
from streams.state.outbox import OUTBOX_KEY, Pending
from streams.state.store import PartitionSnapshot


class OutboxCheck(Check):
    """Alerts are stored, then published, then what they came of is committed.

    A state without a marker begins where its process began to read: what was before is lost, and
    said to be. An alert that is published was stored by some flush before; one that was stored is
    published before the next flush takes its place and before a commit passes it.
    """

    def __init__(self, server: Server, partitions: int, poison: frozenset[bytes]) -> None:
        super().__init__(server, partitions, poison)
        self._held: set[bytes] = set()
        self._required: dict[tuple[int, int], bytes | None] = {}

    @override
    def published(self, topic: str, messages: Iterable[Message]) -> None:
        messages = list(messages)
        super().published(topic, messages)
        early = [one.value for one in messages if one.value not in self._held]
        if topic == ALERTS and early:
            self._broken("invented", f"{early} went out before a flush stored them")

    @override
    def _first(self, partition: int, start: int) -> int:
        return bisect_left(self._offsets[partition], start)

    @override
    def _check_outputs(
        self,
        snapshot: PartitionSnapshot,
        before: int | None,
        covered: Sequence[tuple[LogRecord, set[bytes | None]]],
    ) -> None:
        """An outbox holds the alerts of the records that its flush covers, and nothing else."""
        partition = snapshot.partition
        outbox = msgspec.msgpack.decode(dict(snapshot.blobs)[OUTBOX_KEY], type=list[Pending])
        found = [one.value or b"" for one in outbox]
        pending = self._server.pending.get(partition, [])
        if before == snapshot.marker and found == pending:
            return  # the same flush, whose answer was lost
        for value in pending:
            if value not in self._published:
                self._broken("lost", f"{value!r} was pending and is overwritten")
        left = Counter(found)
        for record, may_alert in covered:
            self._take(partition, record, may_alert, left)
        if any(left.values()):
            self._broken("invented", f"the outbox of partition {partition} holds {+left}")
        self._server.pending[partition] = found
        self._held.update(found)

    def _take(
        self,
        partition: int,
        record: LogRecord,
        may_alert: set[bytes | None],
        left: Counter[bytes],
    ) -> None:
        """Take a record's alert from what an outbox holds."""
        place = partition, record.offset
        held = sorted(value for value in may_alert if value is not None and left[value])
        alert = held[0] if held else None
        self._required[place] = alert
        if alert is not None:
            left[alert] -= 1
        elif None not in may_alert and not self._is_buried(partition, record):
            self._broken("lost", f"the alert of {partition}-{record.offset} was not stored")

    @override
    def _is_told(self, partition: int, record: LogRecord) -> bool:
        if self._is_buried(partition, record):
            return True
        if self._is_bad(record):
            return False
        alert = self._required.get((partition, record.offset))
        return alert is None or alert in self._published

    @override
    def _may_be(self, partition: int, offset: int, value: bytes | None) -> bool:
        return (
            value in self._held if value is not None else super()._may_be(partition, offset, None)
        )

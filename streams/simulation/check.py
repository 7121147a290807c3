"""What must hold: computed one event at a time, compared at every flush, commit and at the end.

A record that the network refused when it stood alone may have been buried although it is sound,
when the device came back at that moment: the contract calls it poison. Then both fates are right,
also both at once after a crash, and so are both states that follow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

import numpy as np

from streams.pipeline.batch import Message
from streams.pipeline.dead_letter import Buried
from streams.simulation.broker import LogRecord
from streams.simulation.chain import ALERTS, BAD, START, after, alert_value, alerts, link_of
from streams.simulation.store import Server
from streams.state.store import PartitionSnapshot, digest

Key = tuple[int, bytes]
"""Partition and key: one entity."""

ORIGIN: Final = frozenset({START})


class Violated(Exception):
    """The contract is broken; the message says by what. `kind` is a field of the report."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Check:
    """The records of one history, and what became of them so far.

    Args:
        server: what the store holds.
        partitions: of the topic.
        poison: values that no network can score.
    """

    def __init__(self, server: Server, partitions: int, poison: frozenset[bytes]) -> None:
        self._server = server
        self._poison = poison
        self._keys: dict[bytes, bytes] = {}
        self._records: list[list[LogRecord]] = [[] for _ in range(partitions)]
        self._offsets: list[list[int]] = [[] for _ in range(partitions)]
        self._told = [0] * partitions
        self._stored = [-1] * partitions
        self._doubted: set[tuple[int, int]] = set()
        self._allowed: dict[tuple[int, int], set[bytes | None]] = {}
        self.written: Counter[tuple[int, int, bytes | None]] = Counter()
        """Alerts by partition, offset and value; dead letters with no value."""
        self._published: set[bytes | None] = set()
        self.events = self.flushes = self.commits = 0
        self.violation: Violated | None = None
        """The first; a worker that is told of it ends of it."""

    # -- what happens -------------------------------------------------------------------------
    def produced(self, partition: int, record: LogRecord) -> None:
        """Note a record of the topic."""
        self.events += 1
        self._records[partition].append(record)
        self._offsets[partition].append(record.offset)

    def refused(self, partition: int, record: LogRecord) -> None:
        """Note that the network failed on a record that stood alone, through no fault of its."""
        if record.value not in self._poison:
            self._doubted.add((partition, record.offset))

    def published(self, topic: str, messages: Iterable[Message]) -> None:
        """Note what has arrived in the logs."""
        for message in messages:
            if topic == ALERTS:
                name = (message.value or b"").split(b" ")[0]
                partition, offset = map(int, name.split(b"-"))
                self.written[partition, offset, message.value] += 1
                self._published.add(message.value)
            else:
                where = dict(message.headers)
                partition = int(where["tocsin-partition"] or b"")
                self.written[partition, int(where["tocsin-offset"] or b""), None] += 1

    def buried(self, partition: int, span: range) -> Buried:
        """Say what a reader of the dead letters finds."""
        found = [
            offset
            for home, offset, value in self.written
            if value is None and home == partition and offset in span
        ]
        return Buried(np.array(found, np.int64), np.zeros(len(found), np.int64))

    def flushed(self, snapshot: PartitionSnapshot, before: int | None, start: int) -> None:
        """Compare what a flush has left in the store.

        Args:
            snapshot: what was written.
            before: the marker that was there, None for none.
            start: where the process that flushes began to read the partition.

        Raises:
            Violated: a row is not what its events up to the marker make it, an output of theirs is
                missing, or the marker went back.
        """
        partition, marker = snapshot.partition, snapshot.marker
        self.flushes += 1
        if before is not None and marker < before:
            self._broken("lost", f"the marker of partition {partition} went back to {marker}")
        records, offsets = self._records[partition], self._offsets[partition]
        first = self._first(partition, start) if before is None else bisect_right(offsets, before)
        covered = records[first : bisect_right(offsets, marker)]
        may_alert = [self._prove(partition, record) for record in covered]
        for key in dict.fromkeys(record.key or b"" for record in covered):
            self._compare(partition, key, marker)
        for row in snapshot.digests:
            known = self._keys.get(row.tobytes())
            if known is None:
                self._broken("double_applied", f"a row of partition {partition} is too early")
            self._compare(partition, known, marker)
        self._stored[partition] = max(self._stored[partition], marker)
        self._check_outputs(snapshot, before, list(zip(covered, may_alert, strict=True)))

    def _first(self, partition: int, start: int) -> int:
        """Return the place of the first record that a state without a marker must have seen."""
        del partition, start
        return 0

    def _check_outputs(
        self,
        snapshot: PartitionSnapshot,
        before: int | None,
        covered: Sequence[tuple[LogRecord, set[bytes | None]]],
    ) -> None:
        """Check the outputs of the records that a flush covers; beside each, what it may raise.

        Alerts go before state: they must all be out.
        """
        del before, covered
        self._all_told(snapshot.partition, snapshot.marker + 1)

    def committed(self, partition: int, offset: int) -> None:
        """Compare a commit with what is stored and published.

        Raises:
            Violated: an offset below it is unprocessed.
        """
        self.commits += 1
        offsets = self._offsets[partition]
        last = bisect_left(offsets, offset)
        if last and offsets[last - 1] > self._stored[partition]:
            self._broken(
                "early_commits",
                f"partition {partition} is committed to {offset} and stored to "
                f"{self._stored[partition]}",
            )
        self._all_told(partition, offset)

    def ended(self) -> None:
        """Compare everything, once the workers have come to rest.

        Raises:
            Violated: a key's state is not what one application of its events makes it, an output is
                missing, or one was invented.
        """
        for partition, offsets in enumerate(self._offsets):
            end = offsets[-1] if offsets else -1
            self._all_told(partition, end + 1)
            for key in self._keys.values():
                self._compare(partition, key, end)
        for (partition, offset, value), count in self.written.items():
            if not self._may_be(partition, offset, value):
                self._broken("invented", f"{count} of {value!r} at {partition}-{offset}")

    @property
    def duplicates(self) -> int:
        """Alerts and dead letters that came more than once."""
        return sum(count - 1 for count in self.written.values())

    def _broken(self, kind: str, message: str) -> NoReturn:
        self.violation = self.violation or Violated(kind, message)
        raise self.violation

    # -- what is right ------------------------------------------------------------------------
    def _prove(self, partition: int, record: LogRecord) -> set[bytes | None]:
        """Take a record into what is right; return the alerts it may raise, None for none."""
        if self._is_bad(record):
            return {None}
        key, event = record.key or b"", int(record.value or b"0")
        self._keys.setdefault(digest(key.decode()), key)
        place, proven = (partition, record.offset), self._server.proven
        before = proven.get((partition, key), ORIGIN)
        links = frozenset(after(link, event) for link in before)
        may_alert = {alert_value(*place, link) if alerts(link) else None for link in links}
        self._allowed.setdefault(place, set()).update(may_alert)
        proven[partition, key] = links | before if place in self._doubted else links
        return may_alert

    def _compare(self, partition: int, key: bytes, marker: int) -> None:
        right = self._server.proven.get((partition, key), ORIGIN)
        row = self._server.rows.get((partition, digest(key.decode())))
        found = START if row is None else link_of(row)
        if found in right:
            return
        where = f"{key.decode()} of partition {partition} at marker {marker}"
        expected = min(right)
        if found.applied == expected.applied:
            self._broken("reordered", f"{where}: {found} is not {expected}")
        kind = "lost" if found.applied < expected.applied else "double_applied"
        self._broken(kind, f"{where}: {found.applied} events are applied, not {expected.applied}")

    def _all_told(self, partition: int, end: int) -> None:
        """Check that everything below `end` has had its output; what has once, has it for good."""
        records, place = self._records[partition], self._told[partition]
        while place < len(records) and records[place].offset < end:
            if not self._is_told(partition, records[place]):
                self._broken("lost", f"no output of {partition}-{records[place].offset}")
            place += 1
        self._told[partition] = max(place, self._told[partition])

    def _is_told(self, partition: int, record: LogRecord) -> bool:
        place = partition, record.offset
        if self._is_buried(partition, record):
            return True
        if self._is_bad(record):
            return False
        wanted = self._allowed.get(place, set())
        return None in wanted or any((*place, value) in self.written for value in wanted)

    def _is_bad(self, record: LogRecord) -> bool:
        """Whether a record can have no other fate than that of a dead letter."""
        return record.value == BAD or record.value in self._poison

    def _is_buried(self, partition: int, record: LogRecord) -> bool:
        """Whether a record is a dead letter, and may be."""
        may_be = self._is_bad(record) or (partition, record.offset) in self._doubted
        return may_be and (partition, record.offset, None) in self.written

    def _may_be(self, partition: int, offset: int, value: bytes | None) -> bool:
        if value is not None:
            return value in self._allowed.get((partition, offset), ())
        place = bisect_left(self._offsets[partition], offset)
        record = self._records[partition][place]
        return record.offset == offset and self._is_buried(partition, record)

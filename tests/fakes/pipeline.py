"""A detector, a publisher and a store that can be told to fail, with one journal of what happened.

The detector counts records by key. A count is a row as any other: loaded, advanced in `prepare`,
frozen, flushed, dropped; so a record that is applied twice or not at all shows in the store.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from typing_extensions import override

from streams.pipeline.batch import Batch, Detector, Message, Outcome, Publisher
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.store import PartitionSnapshot, digest
from streams.state.table import EntityTable, Frozen, pack

OUTBOX = b"outbox".ljust(16, b"\0")
COUNT = np.dtype([("count", "<i8")])

Journal = list[tuple[Any, ...]]
Trap = Callable[[Batch], object]


def no_trap(_: Batch) -> None:
    """Let the batch pass."""


def poisoned(value: bytes) -> Trap:
    """Fail every batch that holds a record with `value`."""

    def trap(batch: Batch) -> None:
        if any(record.value == value for record in batch.records):
            raise ValueError(f"cannot digest {value!r}")

    return trap


class CountingDetector(Detector):
    """Counts records by key; `on_prepare` and `on_infer` see each batch and may raise or block."""

    def __init__(self, store: MemoryStateStore, *, capacity: int = 64) -> None:
        self.table = EntityTable(store, capacity=capacity, blank=np.zeros(1, COUNT))
        self.on_prepare: Trap = no_trap
        self.on_infer: Trap = no_trap
        self.tallied: list[bytes] = []
        """Values of the records whose fate is stored."""

        self.on_probe: Callable[[], object] = lambda: None
        self.sizes: list[int] = []
        """Records of each batch that reached `prepare`."""

        self.holds = False
        """Whether alerts are held until they are stored; `pack` stores them as a blob."""

        self._held: dict[int, list[bytes]] = {}

    @override
    def prepare(self, batch: Batch) -> tuple[Batch, Outcome]:
        self.sizes.append(len(batch.records))
        outcome = Outcome()
        outcome.tallies.append(
            partial(self.tallied.extend, [r.value or b"" for r in batch.records])
        )
        for record, partition in zip(batch.records, batch.partitions.tolist(), strict=True):
            name = (record.key or b"").decode()
            home = np.array([partition], np.int32)
            rows, _ = self.table.find([name], home, batch.sequence)
            if record.offset <= self.table.offsets(rows)[0]:
                outcome.replayed += 1
                continue
            state = self.table.state(rows)
            state["count"] += 1
            self.table.update(rows, state, np.array([record.offset]))
            outcome.events += 1
            if record.offset >= batch.quiet_below.get(partition, 0):
                alert = Message("alerts", record.key, record.value)
                (outcome.held if self.holds else outcome.messages).append(alert)
        self.on_prepare(batch)  # after the rows have advanced: the worst moment to fail
        return batch, outcome

    @override
    def infer(self, prepared: tuple[Batch, Outcome]) -> Outcome:
        self.on_infer(prepared[0])
        for partition, camera in prepared[0].silent:
            prepared[1].held.append(Message("alerts", None, camera.encode()))
            self._held.setdefault(partition, []).append(camera.encode())
        for message in prepared[1].held if prepared[0].records else ():
            partition = int(prepared[0].partitions[0])
            self._held.setdefault(partition, []).append(message.value or b"")
        return prepared[1]

    @override
    def probe(self) -> None:
        self.on_probe()

    @override
    def reject(self, batch: Batch, reason: str) -> Outcome:
        letters = [
            Message("dead", record.key, record.value, [("reason", reason.encode())])
            for record in batch.records
        ]
        return Outcome(messages=letters, dead_letters=len(letters), tallies=[self._tally(batch)])

    def _tally(self, batch: Batch) -> Callable[[], None]:
        return partial(self.tallied.extend, [record.value or b"" for record in batch.records])

    @override
    def freeze(self, sequence: int) -> Frozen:
        return self.table.freeze(sequence)

    @override
    def pack(self, frozen: Frozen, markers: Mapping[int, int]) -> Iterable[PartitionSnapshot]:
        held, self._held = self._held, {}
        return [
            replace(snapshot, blobs=[(OUTBOX, b" ".join(held.get(snapshot.partition, [])))])
            if self.holds
            else snapshot
            for snapshot in pack(frozen, markers)
        ]

    @override
    def flushed(self, sequence: int) -> None:
        self.table.flushed(sequence)

    @override
    def drop(self, partitions: set[int] | None) -> None:
        self._held.clear()  # nothing is inferred meanwhile in the tests that hold
        self.table.drop(partitions)


@dataclass
class JournalPublisher(Publisher):
    """Keeps what was published; holds it back while `gate` is closed."""

    journal: Journal
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    @override
    async def publish(self, messages: Sequence[Message]) -> None:
        await self.gate.wait()
        self.sent += messages
        self.journal.append(("published", [message.value for message in messages]))

    def values(self, topic: str = "alerts") -> list[bytes | None]:
        return [message.value for message in self.sent if message.topic == topic]

    def counts(self, topic: str = "alerts") -> Counter[bytes | None]:
        return Counter(self.values(topic))


class JournalStore(MemoryStateStore):
    """A store in memory that journals its flushes and fails when `fault` says so."""

    def __init__(self, journal: Journal, server: MemoryServer | None = None) -> None:
        super().__init__(server)
        self.journal = journal
        self.fault: Callable[[], object] = lambda: None

    @override
    def flush(self, snapshot: PartitionSnapshot) -> None:
        self.fault()
        super().flush(snapshot)
        self.journal.append(("stored", snapshot.partition, snapshot.marker))

    def outbox(self, partition: int = 0) -> bytes | None:
        """What the last flush stored as held."""
        return self.server.rows.get((partition, OUTBOX))

    def count_of(self, name: str, partition: int = 0) -> int:
        """Records of `name` that the store knows to be applied."""
        row = self.server.rows.get((partition, digest(name)))
        if row is None:
            return 0
        record = np.frombuffer(row, np.dtype([("v", "<u2"), ("offset", "<i8"), ("state", COUNT)]))
        return int(record["state"]["count"][0])

"""The network's stand-in: an exact hash chain by key, in two parts as a card's state has them.

The first part is the row's own and advances when a batch is prepared, the second lies beside the
row, as a network's memory does, and advances when the batch is inferred. Whatever is lost, doubled
or reordered changes every state behind it. Which events alert follows from the state as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from streams.pipeline.batch import Batch, Detector, Message, Outcome
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decode import Rejected
from streams.simulation.broker import TOPIC
from streams.state.store import PartitionSnapshot, StateStore
from streams.state.table import EntityTable, Frozen, Loaded, pack

ALERTS: Final = "alerts"
DEAD: Final = "transactions.dead"
TAIL_BYTES: Final = 8
STATE: Final = np.dtype([("count", "<i8"), ("prepared", "<u8")])
BAD: Final = b"x"
"""The value of a record that does not decode."""

_MASK: Final = (1 << 64) - 1
_FIRST: Final = 0x9E3779B97F4A7C15
_SECOND: Final = 0xC2B2AE3D27D4EB4F


class Link(NamedTuple):
    """A key's state after some of its events."""

    applied: int
    prepared: int
    inferred: int


START: Final = Link(0, 0, 0)


def advanced(before: int, event: int) -> int:
    """Take one event into the first part."""
    mixed = ((before ^ event) * _FIRST) & _MASK
    return mixed ^ (mixed >> 29)


def inferred(before: int, prepared: int) -> int:
    """Take one event, as the first part has it, into the second."""
    mixed = ((before ^ prepared) * _SECOND) & _MASK
    return mixed ^ (mixed >> 31)


def after(link: Link, event: int) -> Link:
    """Return the state after one more event."""
    prepared = advanced(link.prepared, event)
    return Link(link.applied + 1, prepared, inferred(link.inferred, prepared))


def alerts(link: Link) -> bool:
    """Whether the event that led to this state raises an alert."""
    return link.inferred % 4 == 0


def alert_value(partition: int, offset: int, link: Link) -> bytes:
    """Name an alert, and the state that raised it."""
    return b"%d-%d %d" % (partition, offset, link.inferred)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch between its two halves: N of its events are left, in its order."""

    batch: Batch
    places: list[int]  # (N,) in the batch
    rows: list[int]  # (N,)
    states: list[int]  # (N,) first parts after each event
    loaded: Loaded | None
    outcome: Outcome


class ChainDetector(Detector):
    """Follows chains; see `streams.pipeline.batch.Detector` for the contract of each method.

    Args:
        store: of the rows.
        capacity: rows held.
        trap: sees the values of each batch in the middle of its inference, and may raise.
    """

    def __init__(
        self, store: StateStore, *, capacity: int, trap: Callable[[Batch], object]
    ) -> None:
        self._table = EntityTable(
            store, capacity=capacity, blank=np.zeros(1, STATE), tail_bytes=TAIL_BYTES
        )
        self._memory = np.zeros(capacity, np.uint64)
        self._trap = trap
        self._letters = DeadLetters(TOPIC, DEAD)

    @override
    def prepare(self, batch: Batch) -> Prepared:
        # 1. Decode.
        records = batch.records
        bad = [i for i, record in enumerate(records) if record.value == BAD]
        outcome = self._letters.outcome(batch, [Rejected(i, "not a number") for i in bad])
        good = (
            [i for i in range(len(records)) if i not in bad] if bad else list(range(len(records)))
        )
        # 2. Rows.
        index = np.array(good, np.int64)
        found, loaded = self._table.find(
            [(records[i].key or b"").decode() for i in good],
            batch.partitions[index],
            batch.sequence,
        )
        # 3. Drop what the rows have seen.
        fresh = self._fresh(batch, good, self._table.offsets(found))
        outcome.replayed = len(good) - len(fresh)
        outcome.events = len(fresh)
        # 4. Advance, in offset order.
        places, rows = [good[i] for i in fresh], found[fresh].tolist()
        distinct = list(dict.fromkeys(rows))
        state = self._table.state(np.array(distinct, np.int64))
        chains = dict(zip(distinct, state["prepared"].tolist(), strict=True))
        counts = dict(zip(distinct, state["count"].tolist(), strict=True))
        last = {}
        states = []
        for place, row in zip(places, rows, strict=True):
            record = records[place]
            chains[row] = advanced(chains[row], int(record.value or b"0"))
            counts[row] += 1
            last[row] = record.offset
            states.append(chains[row])
        state["prepared"], state["count"] = list(chains.values()), list(counts.values())
        self._table.update(
            np.array(distinct, np.int64), state, np.array(list(last.values()), np.int64)
        )
        return Prepared(batch, places, rows, states, loaded, outcome)

    @override
    def infer(self, prepared: Prepared) -> Outcome:
        batch, memory, outcome = prepared.batch, self._memory, prepared.outcome
        if prepared.loaded is not None:
            tails = np.ascontiguousarray(prepared.loaded.tail).view("<u8")
            memory[prepared.loaded.rows] = tails[:, 0]
        homes = batch.partitions.tolist()
        chains = {row: int(memory[row]) for row in prepared.rows}
        halfway = len(prepared.rows) // 2
        for turn, (place, row, state) in enumerate(
            zip(prepared.places, prepared.rows, prepared.states, strict=True)
        ):
            if turn == halfway:
                _keep(memory, chains)  # the worst moment to fail: the rows are half advanced
                self._trap(batch)
            chains[row] = inferred(chains[row], state)
            record, home = batch.records[place], homes[place]
            link = Link(0, state, chains[row])
            if alerts(link) and record.offset >= batch.quiet_below.get(home, 0):
                value = alert_value(home, record.offset, link)
                self._tell(home, Message(ALERTS, record.key, value), outcome)
        _keep(memory, chains)
        return outcome

    def _fresh(self, batch: Batch, good: Sequence[int], seen: NDArray[np.int64]) -> list[int]:
        """Return which of the places `good` hold an event that its row has not seen."""
        offsets = np.array([batch.records[i].offset for i in good], np.int64)
        fresh: list[int] = np.flatnonzero(offsets > seen).tolist()
        return fresh

    def _tell(self, partition: int, alert: Message, outcome: Outcome) -> None:
        del partition
        outcome.messages.append(alert)
        outcome.alerts += 1

    @override
    def probe(self) -> None:
        self._trap(Batch([], np.zeros(0, np.int32), 0))

    @override
    def reject(self, batch: Batch, reason: str) -> Outcome:
        everything = [Rejected(place, reason) for place in range(len(batch.records))]
        return self._letters.outcome(batch, everything, step="score")

    @override
    def freeze(self, sequence: int) -> Frozen:
        return self._table.freeze(sequence)

    @override
    def pack(self, frozen: Frozen, markers: Mapping[int, int]) -> Iterable[PartitionSnapshot]:
        tail = self._memory[frozen.rows].view(np.uint8).reshape(-1, TAIL_BYTES)
        return pack(frozen, markers, tail=tail)

    @override
    def flushed(self, sequence: int) -> None:
        self._table.flushed(sequence)

    @override
    def drop(self, partitions: set[int] | None) -> None:
        self._table.drop(partitions)


def _keep(memory: NDArray[np.uint64], chains: Mapping[int, int]) -> None:
    for row, chain in chains.items():
        memory[row] = chain


def link_of(row: bytes) -> Link:
    """Read what `ChainDetector` stores of a key."""
    record: Any = np.frombuffer(row, _ROW)[0]
    return Link(int(record["count"]), int(record["prepared"]), int(record["inferred"]))


_ROW: Final = np.dtype(
    [
        ("version", "<u2"),
        ("offset", "<i8"),
        ("count", "<i8"),
        ("prepared", "<u8"),
        ("inferred", "<u8"),
    ]
)

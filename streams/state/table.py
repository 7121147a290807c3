"""Rows of entities in memory: found by id, loaded from the store, flushed in groups, evicted.

A row is a fixed-width record, `offset` (the last applied one) and the entity's own state, plus
whatever the caller keeps in arrays indexed by the same row numbers (the network's hidden state).
Only the prepare thread calls a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.errors import ForeignState, TocsinError
from streams.state.store import DIGEST_BYTES, Bytes2D, PartitionSnapshot, StateStore, digests

ROW_VERSION = 2
EVICT_SHARE = 16
"""Evict this fraction of the capacity at once: finding the oldest rows costs a pass over all."""

Rows = NDArray[np.int64]
Records = NDArray[np.void]
Entity = str | tuple[str, int]
"""An id, or an id with its partition where the same id is met on a second partition."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rows that came in with a batch, for the arrays that the caller keeps beside the table."""

    rows: Rows  # (N,)
    tail: Bytes2D  # (N, tail bytes) what followed the record in the store; zeros for a new row


@dataclass(frozen=True, slots=True)
class Frozen:
    """The dirty rows at one moment: a copy of their records, in row order by partition."""

    rows: Rows  # (N,)
    partitions: NDArray[np.int32]  # (N,)
    digests: Bytes2D  # (N, 16)
    records: Records  # (N,)
    sequence: int


class EntityTable:
    """`capacity` rows of `state` records behind a `StateStore`.

    Args:
        store: where rows come from and go to.
        capacity: rows held; the least recently used go when it is full. At most half of them may
            be unflushed at any time, which the caller sees to by limiting what is in flight.
        blank: (1,) structured, the state of an entity that has never been seen.
        tail_bytes: bytes that the caller appends to each flushed record.
    """

    def __init__(
        self, store: StateStore, *, capacity: int, blank: Records, tail_bytes: int = 0
    ) -> None:
        self.capacity = capacity
        self.record = row_dtype(blank.dtype)
        self.evicted = self.hits = self.misses = self.strays = 0
        self.forgotten: Mapping[tuple[int, bytes], int] = {}
        """By partition and digest: up to which offset an entity is forgotten. It has had its fate
        until then, and a row that is no newer is as good as none."""
        self._store = store
        self._blank = blank
        self.tail_bytes = tail_bytes
        self._records = np.zeros(capacity, self.record)
        self._records["version"] = ROW_VERSION
        self._partition = np.full(capacity, -1, np.int32)
        self._digest = np.zeros((capacity, DIGEST_BYTES), np.uint8)
        self._dirty = np.zeros(capacity, bool)
        self._touched = np.full(capacity, -1, np.int64)
        self._flushed = -1
        self._row_of: dict[Entity, int] = {}
        self._entity: list[Entity | None] = [None] * capacity
        self._free = list(range(capacity - 1, -1, -1))

    def __len__(self) -> int:
        return len(self._row_of)

    # -- reading ------------------------------------------------------------------------------
    def find(
        self, entities: Sequence[str], partitions: NDArray[np.int32], sequence: int
    ) -> tuple[Rows, Loaded | None]:
        """Return the row of each entity (B,), loading and making rows as needed.

        Rows found are marked as used by batch `sequence`, so that they stay until it is flushed.
        An entity that comes on two partitions (records without a key) has a row on each, whoever
        consumes them: offsets of different partitions cannot be compared.
        """
        rows, loaded = self._find(entities, partitions, sequence)
        stray = self._partition[rows] != partitions
        if stray.any():
            self.strays += int(stray.sum())
            homes = partitions.tolist()
            at_home = [
                (entity, home) if astray else entity
                for entity, home, astray in zip(entities, homes, stray.tolist(), strict=True)
            ]
            rows, more = self._find(at_home, partitions, sequence)
            loaded = _joined(loaded, more)
        return rows, loaded

    def _find(
        self, entities: Sequence[Entity], partitions: NDArray[np.int32], sequence: int
    ) -> tuple[Rows, Loaded | None]:
        count = len(entities)
        loaded = None
        try:
            rows = np.fromiter(map(self._row_of.__getitem__, entities), np.int64, count)
        except KeyError:
            loaded = self._load_missing(entities, partitions, sequence)
            rows = np.fromiter(map(self._row_of.__getitem__, entities), np.int64, count)
        self.hits += count - (0 if loaded is None else len(loaded.rows))
        self._touched[rows] = sequence
        return rows, loaded

    def _load_missing(
        self, entities: Sequence[Entity], partitions: NDArray[np.int32], sequence: int
    ) -> Loaded:
        known = self._row_of
        if self.strays:
            self._take_home(entities, partitions)
        missing = {
            entity: partition
            for entity, partition in zip(entities, partitions.tolist(), strict=True)
            if entity not in known
        }
        homes = np.fromiter(missing.values(), np.int32, len(missing))
        keys = digests([e if isinstance(e, str) else e[0] for e in missing])
        stored = self._store.load(homes, keys)  # before anything here changes: it may be repeated
        present = np.fromiter((value is not None for value in stored), bool, len(stored))
        values = [value for value in stored if value is not None]

        in_use = [row for row in map(known.get, entities) if row is not None]
        self._touched[in_use] = sequence
        rows = self._allocate(len(missing))
        records = np.zeros(len(rows), self.record)
        records["version"] = ROW_VERSION
        records["offset"] = -1
        records["state"] = self._blank
        tail = np.zeros((len(rows), self.tail_bytes), np.uint8)
        if values:
            records[present], tail[present] = parse_rows(values, self.record, self.tail_bytes)
        if self.forgotten:
            self._forget_loaded(homes, keys, records, tail)
        self._records[rows] = records
        self._partition[rows] = homes
        self._digest[rows] = keys
        for entity, row in zip(missing, rows.tolist(), strict=True):
            known[entity] = row
            self._entity[row] = entity
        self.misses += len(rows)
        return Loaded(rows, tail)

    def _forget_loaded(
        self, homes: NDArray[np.int32], keys: Bytes2D, records: Records, tail: Bytes2D
    ) -> None:
        """Make blank what is forgotten; a store that went back in time may have it again."""
        for place, home in enumerate(homes.tolist()):
            gone = self.forgotten.get((home, keys[place].tobytes()), -1)
            if gone >= 0 and records["offset"][place] <= gone:
                records["offset"][place] = gone
                records["state"][place] = self._blank[0]
                tail[place] = 0

    def _take_home(self, entities: Sequence[Entity], partitions: NDArray[np.int32]) -> None:
        """Make strays whose first row has gone the first: the store may hold an older one."""
        for entity, partition in zip(entities, partitions.tolist(), strict=True):
            if isinstance(entity, str) and entity not in self._row_of:
                row = self._row_of.pop((entity, partition), None)
                if row is not None:
                    self._row_of[entity] = row
                    self._entity[row] = entity

    def offsets(self, rows: Rows) -> NDArray[np.int64]:
        """Return the last applied offset of each row, -1 for none."""
        return self._records["offset"][rows]

    def state(self, rows: Rows) -> Records:
        """Return a copy of the state records of `rows`."""
        return self._records["state"][rows]

    # -- writing ------------------------------------------------------------------------------
    def update(self, rows: Rows, state: Records, offsets: NDArray[np.int64]) -> None:
        """Store the new state of distinct `rows`, applied up to `offsets`, and mark them dirty."""
        self._records["state"][rows] = state
        self._records["offset"][rows] = offsets
        self._dirty[rows] = True

    def freeze(self, sequence: int) -> Frozen:
        """Copy the dirty rows and mark them clean; `sequence` is the last batch they cover."""
        rows = np.flatnonzero(self._dirty)
        rows = rows[np.argsort(self._partition[rows], kind="stable")]
        self._dirty[rows] = False
        return Frozen(
            rows, self._partition[rows], self._digest[rows], self._records[rows], sequence
        )

    def flushed(self, sequence: int) -> None:
        """Note that all rows used up to batch `sequence` are in the store: they may be evicted."""
        self._flushed = sequence

    # -- forgetting ---------------------------------------------------------------------------
    def drop(self, partitions: set[int] | None = None) -> int:
        """Forget the rows of `partitions` (None: all), dirty or not; return how many."""
        held = self._partition >= 0
        if partitions is not None:
            held &= np.isin(self._partition, list(partitions))
        rows = np.flatnonzero(held)
        self._forget(rows)
        return len(rows)

    def _allocate(self, count: int) -> Rows:
        if count > len(self._free):
            self._evict(count - len(self._free))
        rows = np.array(self._free[len(self._free) - count :], np.int64)
        del self._free[len(self._free) - count :]
        return rows

    def _evict(self, needed: int) -> None:
        idle = np.flatnonzero(
            (self._partition >= 0) & (self._touched <= self._flushed) & ~self._dirty
        )
        if len(idle) < needed:
            raise TocsinError(
                f"all {self.capacity} rows are in use by unflushed batches: raise the capacity"
            )
        count = max(needed, self.capacity // EVICT_SHARE)
        if len(idle) > count:
            idle = idle[np.argpartition(self._touched[idle], count)[:count]]
        self._forget(idle)
        self.evicted += len(idle)

    def _forget(self, rows: Rows) -> None:
        for row in rows.tolist():
            entity = self._entity[row]
            if entity is not None:
                del self._row_of[entity]
                self._entity[row] = None
        self._partition[rows] = -1
        self._dirty[rows] = False
        self._touched[rows] = -1
        self._free.extend(rows.tolist())


def row_dtype(state: np.dtype[Any]) -> np.dtype[Any]:
    """Return the record that a stored row begins with."""
    return np.dtype([("version", "<u2"), ("offset", "<i8"), ("state", state)])


def parse_rows(
    values: Sequence[bytes], record: np.dtype[Any], tail_bytes: int
) -> tuple[Records, Bytes2D]:
    """Split N > 0 stored rows into their records (N,) and tails (N, tail_bytes).

    Raises:
        ForeignState: a row has another width or version than this program writes.
    """
    width = record.itemsize + tail_bytes
    joined = np.frombuffer(b"".join(values), np.uint8)
    if any(len(value) != width for value in values):
        raise ForeignState(
            f"a stored row is not {width} bytes wide, another version wrote it: "
            "run tocsin state rebuild"
        )
    matrix = joined.reshape(len(values), width)
    records = np.ascontiguousarray(matrix[:, : record.itemsize]).view(record)[:, 0]
    if (records["version"] != ROW_VERSION).any():
        raise ForeignState("a stored row has another version: run tocsin state rebuild")
    return records, matrix[:, record.itemsize :]


def parse_heads(values: Sequence[bytes], record: np.dtype[Any]) -> Records:
    """Read the records (N,) that N stored rows begin with, whatever follows them.

    Raises:
        ForeignState: a row is too short or of another version than this program writes.
    """
    if any(len(value) < record.itemsize for value in values):
        raise ForeignState("a stored row is too short, another version wrote it")
    heads = np.frombuffer(b"".join(value[: record.itemsize] for value in values), record)
    if (heads["version"] != ROW_VERSION).any():
        raise ForeignState("a stored row has another version: run tocsin state rebuild")
    return heads


def _joined(first: Loaded | None, second: Loaded | None) -> Loaded | None:
    if first is None or second is None:
        return first or second
    return Loaded(
        np.concatenate([first.rows, second.rows]), np.concatenate([first.tail, second.tail])
    )


def pack(
    frozen: Frozen, markers: Mapping[int, int], *, tail: Bytes2D | None = None
) -> list[PartitionSnapshot]:
    """Turn frozen rows into one snapshot for each partition of `markers`.

    Args:
        frozen: rows in order of their partition.
        markers: highest offset covered by partition; a partition without rows moves its marker.
        tail: (N, T) bytes to append to each row.

    Raises:
        RuntimeError: a row's partition has no marker: it would be marked clean and never stored.
    """
    if not set(frozen.partitions.tolist()) <= markers.keys():
        raise RuntimeError("rows changed in a partition that this flush does not cover")
    width = frozen.records.dtype.itemsize
    records = frozen.records.view(np.uint8).reshape(len(frozen.rows), width)
    values = records if tail is None else np.concatenate([records, tail], axis=1)
    snapshots = []
    for partition, marker in markers.items():
        first, last = np.searchsorted(frozen.partitions, [partition, partition + 1])
        part = slice(int(first), int(last))
        snapshots.append(PartitionSnapshot(partition, frozen.digests[part], values[part], marker))
    return snapshots

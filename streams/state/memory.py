"""A state store in the process: the fake of every test, and ``redis.url = "memory://"``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from streams.errors import Fenced, ForeignState
from streams.state.store import (
    NOBODY,
    Bytes2D,
    Owner,
    PartitionSnapshot,
    StateStore,
    differences,
)


@dataclass(slots=True)
class MemoryServer:
    """What the stores of several workers share, as they would share one Redis."""

    identity: bytes | None = None
    owners: dict[int, bytes] = field(default_factory=dict)
    markers: dict[int, int] = field(default_factory=dict)
    rows: dict[tuple[int, bytes], bytes] = field(default_factory=dict)
    ends: dict[tuple[int, bytes], float] = field(default_factory=dict)
    """When rows are deleted, by the monotonic clock."""

    agreed: dict[bytes, bytes] = field(default_factory=dict)
    version: int = 0


class MemoryStateStore(StateStore):
    """`StateStore` over dictionaries."""

    def __init__(self, server: MemoryServer | None = None, *, shared: bool = False) -> None:
        self.server = server or MemoryServer()
        self._shared = shared
        self._mine: dict[int, tuple[bytes, int | None]] = {}

    @override
    def identify(self, identity: bytes) -> None:
        if self.server.identity not in (None, identity):
            told = differences(self.server.identity, identity)
            raise ForeignState(
                f"the state in memory belongs to another topic, model or version ({told})"
            )
        self.server.identity = identity

    @override
    def identity(self) -> bytes | None:
        return self.server.identity

    @override
    def markers(self, partitions: Sequence[int]) -> Mapping[int, int | None]:
        return {partition: self.server.markers.get(partition) for partition in partitions}

    @override
    def claim(self, partitions: Sequence[int], generation: int) -> Mapping[int, int | None]:
        owner = Owner.new(generation).encode()
        for partition in partitions:
            held = self.server.owners.get(partition)
            if held is not None and Owner.generation_of(held) > generation:
                raise Fenced(f"partition {partition} is owned by a later generation")
        for partition in partitions:
            self.server.owners[partition] = owner
            self._mine[partition] = owner, self.server.markers.get(partition)
        return {partition: self._mine[partition][1] for partition in partitions}

    @override
    def fence(self, partitions: Sequence[int]) -> None:
        nobody = Owner.new(NOBODY).encode()
        self.server.owners.update(dict.fromkeys(partitions, nobody))

    @override
    def release(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._mine.pop(partition, None)

    @override
    def load(self, partitions: NDArray[np.int32], digests: Bytes2D) -> list[bytes | None]:
        self._expire()
        rows, shared = self.server.rows, self._shared
        for partition in set(partitions.tolist()) & self._mine.keys():
            owner, marker = self._mine[partition]
            held, found = self.server.owners.get(partition), self.server.markers.get(partition)
            if held not in (owner, None):
                raise Fenced(f"partition {partition} has another owner")
            if marker is not None and (found is None or found < marker):
                raise Fenced(f"the state of partition {partition} went back in time")
            if held is None and found != marker:
                raise Fenced(f"partition {partition} has had another owner meanwhile")
        return [
            rows.get((-1 if shared else partition, key.tobytes()))
            for partition, key in zip(partitions.tolist(), digests, strict=True)
        ]

    @override
    def flush(self, snapshot: PartitionSnapshot) -> None:
        partition = snapshot.partition
        mine = self._mine.get(partition)
        if mine is None:
            raise Fenced(f"partition {partition} is not ours")
        owner, marker = mine
        if self.server.owners.get(partition, owner) != owner:
            raise Fenced(f"partition {partition} has another owner")
        if self.server.markers.get(partition) not in (marker, snapshot.marker):
            raise Fenced(f"the state of partition {partition} went back in time")
        home = -1 if self._shared else partition
        for key, value in zip(snapshot.digests, snapshot.values, strict=True):
            self.server.rows[home, key.tobytes()] = value.tobytes()
        self._expire()
        for key, value in snapshot.blobs:
            self.server.rows[home, key] = value
            self.server.ends.pop((home, key), None)
            if key in snapshot.lives_ms:
                self.server.ends[home, key] = time.monotonic() + snapshot.lives_ms[key] / 1000
        self.server.markers[partition] = snapshot.marker
        self.server.owners[partition] = owner
        self.server.version += 1
        self._mine[partition] = owner, snapshot.marker

    @override
    def agree(self, name: bytes, value: bytes) -> bytes:
        return self.server.agreed.setdefault(name, value)

    @override
    def forget(self, partition: int) -> None:
        if partition not in self._mine:
            raise Fenced(f"partition {partition} is not ours any more")
        owner, marker = self._mine[partition]
        if self.server.owners.get(partition, owner) != owner:
            raise Fenced(f"partition {partition} has another owner")
        if self.server.markers.get(partition) not in (marker, None):
            raise Fenced(f"partition {partition} has had another owner meanwhile")
        self._mine[partition] = owner, None
        self.server.markers.pop(partition, None)
        for at in [at for at in self.server.rows if at[0] == partition]:
            del self.server.rows[at]
            self.server.ends.pop(at, None)

    @override
    def version(self) -> bytes:
        return b"%d" % self.server.version

    @override
    def clear(self) -> int:
        count = len(self.server.rows) + len(self.server.markers) + len(self.server.owners)
        count += len(self.server.agreed)
        self.server.rows.clear()
        self.server.ends.clear()
        self.server.agreed.clear()
        self.server.markers.clear()
        self.server.owners.clear()
        self.server.identity = None
        self.server.version += 1
        return count

    @override
    def close(self) -> None:
        self._mine.clear()

    def _expire(self) -> None:
        now = time.monotonic()
        for at in [at for at, end in self.server.ends.items() if end <= now]:
            del self.server.ends[at], self.server.rows[at]

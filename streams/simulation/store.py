"""Redis in memory: `MemoryStateStore` behind a connection that fails, on a server that forgets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from streams.errors import StoreUnavailable
from streams.simulation.chain import Link
from streams.simulation.clock import Clock, Died, Process
from streams.simulation.faults import Faults
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.store import Bytes2D, PartitionSnapshot

LEASE_S = 3.0
"""An owner that does not write for so long is forgotten; 60 s on Redis."""


class Server(MemoryServer):
    """What all processes share; it can be away, emptied and set back."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._leases: dict[int, float] = {}
        self.away_until = 0.0
        self.proven: dict[tuple[int, bytes], frozenset[Link]] = {}
        """What the check has found to be right of what is stored, by partition and key; it goes
        back in time with the rest."""

        self.pending: dict[int, list[bytes]] = {}
        """Alerts of each partition's outbox."""

    def expire(self) -> int:
        """Forget owners whose lease is over; return how many."""
        over = [p for p, until in self._leases.items() if until < self._clock.now]
        for partition in over:
            self.owners.pop(partition, None)
            del self._leases[partition]
        return len(over)

    def renew(self, partitions: Sequence[int]) -> None:
        """Begin the owners' lease anew."""
        self._leases.update(dict.fromkeys(partitions, self._clock.now + LEASE_S))

    def empty(self) -> None:
        """Forget everything."""
        self.identity = None
        for held in self._held():
            held.clear()

    def forget(self, partition: int) -> None:
        """Forget what the check knows of a partition whose state is deleted."""
        self.pending.pop(partition, None)
        for key in [key for key in self.proven if key[0] == partition]:
            del self.proven[key]

    def copy(self) -> Callable[[], None]:
        """Take a copy of everything; calling what is returned puts it back."""
        identity, copies = self.identity, [dict(held) for held in self._held()]

        def restore() -> None:
            self.identity = identity
            for held, copy in zip(self._held(), copies, strict=True):
                held.clear()
                held.update(copy)

        return restore

    def _held(self) -> tuple[dict[Any, Any], ...]:
        stored = self.owners, self.markers, self.rows, self.agreed, self._leases
        return *stored, self.proven, self.pending


class FaultyStore(MemoryStateStore):
    """One process's connection.

    Args:
        process: dies in the middle of a call.
        server: shared.
        faults: drawn at each call.
        flushed: told of each flush that was taken, with the marker before it.
    """

    def __init__(
        self,
        process: Process,
        server: Server,
        faults: Faults,
        flushed: Callable[[PartitionSnapshot, int | None], object],
    ) -> None:
        super().__init__(server)
        self._process, self._redis, self._faults = process, server, faults
        self._flushed = flushed

    @contextmanager
    def _call(self, partition: int | None = None) -> Iterator[None]:
        """Fail before the call, or after it: then its answer is lost.

        Of a flush of `partition` whose answer is lost nobody knows whether it was taken.
        """
        process, faults = self._process, self._faults
        if not process.alive:
            raise Died
        if process.clock.now < self._redis.away_until:
            raise StoreUnavailable("away")
        if faults.strikes("crash in store"):
            process.exit()
        if self._redis.expire():
            faults.count("lease ran out")
        mine = None if partition is None else self._mine.get(partition)
        yield
        if faults.strikes("crash in store"):
            process.exit()
        if faults.strikes("redis answer lost"):
            if partition is not None and mine is not None:
                self._mine[partition] = mine
            raise StoreUnavailable("the answer is lost")

    @override
    def identify(self, identity: bytes) -> None:
        with self._call():
            super().identify(identity)

    @override
    def claim(self, partitions: Sequence[int], generation: int) -> Mapping[int, int | None]:
        with self._call():
            markers = super().claim(partitions, generation)
            self._redis.renew(partitions)
            return markers

    @override
    def load(self, partitions: NDArray[np.int32], digests: Bytes2D) -> list[bytes | None]:
        with self._call():
            return super().load(partitions, digests)

    @override
    def verify(self, markers: Mapping[int, int]) -> None:
        with self._call():
            super().verify(markers)

    @override
    def flush(self, snapshot: PartitionSnapshot) -> None:
        with self._call(snapshot.partition):
            before = self.server.markers.get(snapshot.partition)
            super().flush(snapshot)
            self._redis.renew([snapshot.partition])
            self._flushed(snapshot, before)

    @override
    def forget(self, partition: int) -> None:
        with self._call():
            super().forget(partition)
            self._redis.forget(partition)


class VirtualStop:
    """The wait of `PatientStateStore`, in virtual time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def wait(self, timeout: float) -> bool:
        """Block whoever acts; nobody is told to stop meanwhile."""
        self._clock.sleep(timeout)
        return False

"""A state store that waits: an outage becomes a named wait, not an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from streams.errors import StoreRefused, StoreUnavailable
from streams.state.store import Bytes2D, PartitionSnapshot, StateStore
from streams.status import Status

T = TypeVar("T")


class Stop(Protocol):
    """Of `threading.Event`, what is used."""

    def wait(self, timeout: float) -> bool:
        """Block for `timeout` seconds, or until told to stop; return whether that was it."""


class PatientStateStore(StateStore):
    """Repeat what another store could not do until it can, or until `stop` is set.

    A `StoreRefused` waits too: an operator corrects a password or a memory policy, and the worker
    goes on. `Fenced` and `ForeignState` pass through.
    """

    def __init__(self, store: StateStore, status: Status, stop: Stop) -> None:
        self._store = store
        self._status = status
        self._stop = stop

    def _patiently(self, attempt: Callable[[], T]) -> T:
        with self._status.waiting("Redis") as wait:
            while True:
                try:
                    return attempt()
                except (StoreUnavailable, StoreRefused) as error:
                    if self._stop.wait(wait.because(error)):
                        raise

    @override
    def identify(self, identity: bytes) -> None:
        self._patiently(lambda: self._store.identify(identity))

    @override
    def identity(self) -> bytes | None:
        return self._patiently(self._store.identity)

    @override
    def markers(self, partitions: Sequence[int]) -> Mapping[int, int | None]:
        return self._patiently(lambda: self._store.markers(partitions))

    @override
    def claim(self, partitions: Sequence[int], generation: int) -> Mapping[int, int | None]:
        return self._patiently(lambda: self._store.claim(partitions, generation))

    @override
    def fence(self, partitions: Sequence[int]) -> None:
        self._patiently(lambda: self._store.fence(partitions))

    @override
    def release(self, partitions: Sequence[int]) -> None:
        self._store.release(partitions)

    @override
    def load(self, partitions: NDArray[np.int32], digests: Bytes2D) -> list[bytes | None]:
        return self._patiently(lambda: self._store.load(partitions, digests))

    @override
    def verify(self, markers: Mapping[int, int]) -> None:
        """See `StateStore.verify`. Once: it holds nobody up, and is asked again anyway."""
        self._store.verify(markers)

    @override
    def flush(self, snapshot: PartitionSnapshot) -> None:
        self._patiently(lambda: self._store.flush(snapshot))

    @override
    def agree(self, name: bytes, value: bytes) -> bytes:
        return self._patiently(lambda: self._store.agree(name, value))

    @override
    def forget(self, partition: int) -> None:
        self._patiently(lambda: self._store.forget(partition))

    @override
    def version(self) -> bytes:
        return self._patiently(self._store.version)

    @override
    def clear(self) -> int:
        return self._patiently(self._store.clear)

    @override
    def close(self) -> None:
        self._store.close()

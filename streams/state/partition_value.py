"""One value of a partition that is stored beside its entities' own, by the same flush."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec
import numpy as np

from streams.errors import ForeignState
from streams.schemas import DECODE_ERRORS
from streams.state.store import StateStore

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class PartitionValue(Generic[T]):
    """A value of a type under a name."""

    def __init__(self, name: str, kind: type[T]) -> None:
        """Name what is stored, in at most 16 bytes."""
        self.key = name.encode().ljust(16, b"\0")
        """Beside the digests of entities, none of which it can be but by a chance of 2**-128."""
        self._name = name
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def blob(self, value: T) -> tuple[bytes, bytes]:
        """Give key and value as `PartitionSnapshot.blobs` takes them."""
        return self.key, _encode(value)

    def load(self, store: StateStore, partition: int) -> T | None:
        """Read what the last flush of a partition stored; None before the first. Blocks.

        Raises:
            ForeignState: the value is not what `blob` writes.
        """
        key = np.frombuffer(self.key, np.uint8).reshape(1, -1)
        (value,) = store.load(np.array([partition], np.int32), key)
        if value is None:
            return None
        try:
            return self._decode(value)
        except DECODE_ERRORS as error:
            raise ForeignState(
                f"the value {self._name!r} of partition {partition} is unreadable ({error}): "
                "another version wrote it: run tocsin state rebuild"
            ) from None

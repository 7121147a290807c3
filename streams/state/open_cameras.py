"""Which cameras of a partition have open alerts: one value beside the cameras' own.

A camera is found by its id alone, and one that never sends again never names itself: a worker that
takes its partition over would not know that there is something to end.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from streams.errors import ForeignState
from streams.state.store import StateStore

OPEN_KEY = b"open cameras".ljust(16, b"\0")
"""Beside the digests of entities, none of which it can be but by a chance of 2**-128."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[str]).decode


def open_blob(cameras: Iterable[str]) -> tuple[bytes, bytes]:
    """Give key and value as `PartitionSnapshot.blobs` takes them."""
    return OPEN_KEY, _encode(sorted(cameras))


def load_open(store: StateStore, partition: int) -> list[str]:
    """Read the ids of a partition's cameras that had open alerts at its last flush. Blocks.

    Raises:
        ForeignState: the value is not what `open_blob` writes.
    """
    key = np.frombuffer(OPEN_KEY, np.uint8).reshape(1, -1)
    (value,) = store.load(np.array([partition], np.int32), key)
    if value is None:
        return []
    try:
        return _decode(value)
    except msgspec.MsgspecError as error:
        raise ForeignState(
            f"the open cameras of partition {partition} are unreadable ({error}): another version "
            "wrote them: run tocsin state rebuild"
        ) from None

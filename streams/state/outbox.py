"""Messages that a flush stores before they are published: one value for each partition."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Struct

from streams.errors import ForeignState
from streams.state.store import StateStore

OUTBOX_KEY = b"outbox".ljust(16, b"\0")
"""Beside the digests of entities, none of which it can be but by a chance of 2**-128."""


class Pending(Struct, frozen=True, array_like=True):
    """A message as `streams.pipeline.batch.Message` has it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Pending]).decode


def outbox_blob(pending: Sequence[Pending]) -> tuple[bytes, bytes]:
    """Give key and value as `PartitionSnapshot.blobs` takes them."""
    return OUTBOX_KEY, _encode(list(pending))


def load_outbox(store: StateStore, partition: int) -> list[Pending]:
    """Read what the last flush of a partition left pending; it may have gone out since. Blocks.

    Raises:
        ForeignState: the value is not what `outbox_blob` writes.
    """
    key = np.frombuffer(OUTBOX_KEY, np.uint8).reshape(1, -1)
    (value,) = store.load(np.array([partition], np.int32), key)
    if value is None:
        return []
    try:
        return _decode(value)
    except msgspec.MsgspecError as error:
        raise ForeignState(
            f"the outbox of partition {partition} is unreadable ({error}): another version wrote "
            "it: run tocsin state rebuild"
        ) from None

"""Messages that a flush stores before they are published: one value for each partition."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from streams.state.partition_value import PartitionValue
from streams.state.store import StateStore


class Pending(Struct, frozen=True, array_like=True):
    """A message as `streams.pipeline.batch.Message` has it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


_OUTBOX = PartitionValue("outbox", list[Pending])
OUTBOX_KEY = _OUTBOX.key


def outbox_blob(pending: Sequence[Pending]) -> tuple[bytes, bytes]:
    """Give key and value as `PartitionSnapshot.blobs` takes them."""
    return _OUTBOX.blob(list(pending))


def load_outbox(store: StateStore, partition: int) -> list[Pending]:
    """Read what the last flush of a partition left pending; it may have gone out since. Blocks.

    Raises:
        ForeignState: the value is not what `outbox_blob` writes.
    """
    return _OUTBOX.load(store, partition) or []

"""Which cameras of a partition have open alerts: one value beside the cameras' own.

A camera is found by its id alone, and one that never sends again never names itself: a worker that
takes its partition over would not know that there is something to end.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.state.partition_value import PartitionValue
from streams.state.store import StateStore

_OPEN = PartitionValue("open cameras", list[str])


def open_blob(cameras: Iterable[str]) -> tuple[bytes, bytes]:
    """Give key and value as `PartitionSnapshot.blobs` takes them."""
    return _OPEN.blob(sorted(cameras))


def load_open(store: StateStore, partition: int) -> list[str]:
    """Read the ids of a partition's cameras that had open alerts at its last flush. Blocks.

    Raises:
        ForeignState: the value is not what `open_blob` writes.
    """
    return _OPEN.load(store, partition) or []

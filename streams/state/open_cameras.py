"""Which cameras of a partition have open alerts: one value beside the cameras' own.

A camera is found by its id alone, and one that never sends again never names itself: a worker that
takes its partition over would not know that there is something to end. When it was last seen stands
beside it, or workers that end sooner than the silence lasts would each count it from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.state.partition_value import PartitionValue
from streams.state.store import StateStore

_OPEN = PartitionValue("open cameras", dict[str, int])


def open_blob(cameras: Mapping[str, int]) -> tuple[bytes, bytes]:
    """Give key and value as `PartitionSnapshot.blobs` takes them.

    Args:
        cameras: by id, when they were last seen (ms, the clock of a worker).
    """
    return _OPEN.blob(dict(cameras))


def load_open(store: StateStore, partition: int) -> dict[str, int]:
    """Read which cameras of a partition had open alerts at its last flush, as `open_blob` has them.

    Blocks.

    Raises:
        ForeignState: the value is not what `open_blob` writes.
    """
    return _OPEN.load(store, partition) or {}

"""What the inference thread keeps of cameras, and of the outboxes of their partitions."""

from __future__ import annotations

from streams.pipeline.cameras import CameraPasts, CameraWatches
from streams.state.memory import MemoryStateStore
from streams.state.outbox import outbox_blob


def flushed(watches: CameraWatches) -> bool:
    """Whether a flush of partition 0 writes its outbox, without alerts."""
    (snapshot,) = watches.pack({0: 7}, lambda key: 0)
    assert list(snapshot.blobs) in ([], [outbox_blob([])])
    return bool(snapshot.blobs)


def test_the_outbox_of_a_partition_that_comes_back_is_emptied_again() -> None:
    """Who had it meanwhile may have left alerts there, which a later start would send again."""
    pasts, watches = CameraPasts(MemoryStateStore(), capacity=8), CameraWatches()
    assert flushed(watches)
    assert not flushed(watches)

    pasts.drop({0})
    watches.apply(pasts.changes())

    assert flushed(watches)

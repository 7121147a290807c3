"""The cameras that an agent knows: their past on the prepare thread, their watch on the other.

A camera is known by its partition and id: one whose frames come on two partitions (records without
a key) is two cameras, because nobody can order its frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from streams.pipeline.batch import CameraKey, Message
from streams.pipeline.frames import CameraPast
from streams.pipeline.watch import CameraWatch, stored_time, unpack_watch
from streams.state.open_cameras import load_open, open_blob
from streams.state.outbox import Pending, outbox_blob
from streams.state.store import DIGEST_BYTES, PartitionSnapshot, StateStore, digest

LIFE_MS: Final = 7 * 86_400_000
"""For how long the store keeps a camera that sends no more and has no open alerts: longer than the
longest cooldown of a rule, which is a day. One that comes back later begins anew."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the inference thread must learn of the prepare thread before it goes on."""

    loaded: Mapping[CameraKey, bytes | None]
    """Cameras that are new or come back, as the store has them."""

    forgotten: frozenset[CameraKey]
    dropped: bool
    """Whether anything else that was not flushed is to be forgotten too."""

    left: frozenset[int]
    """Partitions of which everything is forgotten."""

    opened: Mapping[int, Mapping[str, int]]
    """Cameras with open alerts, and when they were last seen (ms), as the store has it of
    partitions that are new."""


class CameraPasts:
    """The cameras as the prepare thread knows them; the least recently seen go when it is full."""

    def __init__(self, store: StateStore, *, capacity: int) -> None:
        self._store, self._capacity = store, capacity
        self._pasts: dict[CameraKey, CameraPast] = {}
        self._seen_in: dict[CameraKey, int] = {}  # in order of the last sight
        self._sequence = self._flushed = -1
        self._loaded: dict[CameraKey, bytes | None] = {}
        self._forgotten: set[CameraKey] = set()
        self._dropped = False
        self._partitions: set[int] = set()
        self._left: set[int] = set()
        self._opened: dict[int, Mapping[str, int]] = {}

    def __len__(self) -> int:
        return len(self._pasts)

    def begin(self, sequence: int) -> None:
        """Say which batch asks from now on."""
        self._sequence = sequence

    def of(self, camera: str, partition: int) -> CameraPast:
        """Return what is known of a camera, loading it where it is not in memory."""
        key = partition, camera
        past = self._pasts.get(key)
        if past is None:
            past = self._pasts[key] = self._load(key)
        self._seen_in.pop(key, None)
        self._seen_in[key] = self._sequence
        return past

    def begin_partitions(self, partitions: Iterable[int]) -> None:
        """Find out which cameras have open alerts, in partitions of which nothing is known yet."""
        for partition in set(partitions) - self._partitions:
            self._opened[partition] = load_open(self._store, partition)
            self._partitions.add(partition)

    def changes(self) -> Changes:
        """Take what has changed since the last call, after forgetting whom there is no room for.

        A camera is forgotten once all that it did is flushed: it comes back from the store.
        """
        while len(self._seen_in) > self._capacity:
            key, seen_in = next(iter(self._seen_in.items()))
            if seen_in > self._flushed:
                break
            self._forget(key)
        changes = Changes(
            self._loaded,
            frozenset(self._forgotten),
            self._dropped,
            frozenset(self._left),
            self._opened,
        )
        self._loaded, self._forgotten, self._dropped = {}, set(), False
        self._left, self._opened = set(), {}
        return changes

    def flushed(self, sequence: int) -> None:
        """Note that all up to batch `sequence` is in the store."""
        self._flushed = sequence

    def drop(self, partitions: set[int] | None) -> None:
        """Forget the cameras of `partitions`, None for all, flushed or not."""
        for key in list(self._pasts):
            if partitions is None or key[0] in partitions:
                self._forget(key)
        self._dropped = self._dropped or partitions is None
        left = self._partitions if partitions is None else self._partitions & partitions
        self._partitions = self._partitions - left
        self._left |= left if partitions is None else partitions
        for partition in left:
            self._opened.pop(partition, None)

    def _load(self, key: CameraKey) -> CameraPast:
        self.begin_partitions([key[0]])
        wanted = np.frombuffer(digest(key[1]), np.uint8).reshape(1, DIGEST_BYTES)
        (stored,) = self._store.load(np.array([key[0]], np.int32), wanted)
        self._loaded[key] = stored
        past = CameraPast()
        if stored is not None:
            past.passage.newest = past.passage.taken = stored_time(stored)
        return past

    def _forget(self, key: CameraKey) -> None:
        del self._pasts[key]
        self._seen_in.pop(key, None)
        self._loaded.pop(key, None)
        self._forgotten.add(key)


class CameraWatches:
    """The cameras as the inference thread knows them, and the alerts that wait for a flush."""

    def __init__(self) -> None:
        self._watches: dict[CameraKey, CameraWatch] = {}
        self._dirty: set[CameraKey] = set()
        self._pending: dict[int, list[Pending]] = {}
        self._empty: set[int] = set()
        """Partitions whose outbox in the store is known to be empty."""

        self._open: dict[int, dict[str, int]] = {}
        """Cameras with open alerts, and when they were last seen (ms), as the store has it."""

    def apply(self, changes: Changes) -> set[str]:
        """Catch up with the prepare thread; return the ids of the cameras that were forgotten."""
        for key in changes.forgotten:
            self._watches.pop(key, None)
            self._dirty.discard(key)
        if changes.dropped:
            self._pending.clear()
            self._empty.clear()
        for partition in changes.left:
            self._open.pop(partition, None)
        self._empty -= changes.left  # whoever has them now may fill what is known to be empty
        self._open.update({p: dict(cameras) for p, cameras in changes.opened.items()})
        for key, stored in changes.loaded.items():
            self._watches[key] = CameraWatch() if stored is None else unpack_watch(stored)
        return {camera for _, camera in changes.forgotten}

    def of(self, camera: str, partition: int) -> CameraWatch:
        """Return a camera's watch, to be changed."""
        key = partition, camera
        self._dirty.add(key)
        return self._watches[key]

    def is_open(self, key: CameraKey) -> bool:
        """Whether a camera had open alerts at the last flush."""
        return key[1] in self._open.get(key[0], ())

    def hold(self, partition: int, message: Message) -> None:
        """Keep an alert for the outbox of the next flush."""
        pending = Pending(message.topic, message.key, message.value, [*message.headers])
        self._pending.setdefault(partition, []).append(pending)

    def pack(
        self, markers: Mapping[int, int], seen_ms: Callable[[CameraKey], int]
    ) -> list[PartitionSnapshot]:
        """Encode what changed since the last call, one snapshot for each partition of `markers`.

        Args:
            markers: by partition.
            seen_ms: when a camera with open alerts was last seen.

        Raises:
            RuntimeError: a camera changed in a partition without a marker.
        """
        if not {partition for partition, _ in self._dirty} <= markers.keys():
            raise RuntimeError("cameras changed in a partition that this flush does not cover")
        blobs: dict[int, list[tuple[bytes, bytes]]] = {partition: [] for partition in markers}
        lives: dict[int, dict[bytes, int]] = {partition: {} for partition in markers}
        for partition, camera in self._dirty:
            watch, key = self._watches[partition, camera], digest(camera)
            blobs[partition].append((key, watch.pack()))
            if not len(watch.alerts):
                lives[partition][key] = LIFE_MS
        for partition in self._reopened(seen_ms):
            blobs[partition].append(open_blob(self._open[partition]))
        for partition in markers:
            pending = self._pending.pop(partition, [])
            if pending or partition not in self._empty:
                blobs[partition].append(outbox_blob(pending))
            (self._empty.discard if pending else self._empty.add)(partition)
        self._dirty.clear()
        nothing = np.zeros((0, DIGEST_BYTES), np.uint8), np.zeros((0, 0), np.uint8)
        return [
            PartitionSnapshot(partition, *nothing, marker, blobs[partition], lives[partition])
            for partition, marker in markers.items()
        ]

    def _reopened(self, seen_ms: Callable[[CameraKey], int]) -> set[int]:
        """Bring up to date who has open alerts; return the partitions where that has changed."""
        changed = set()
        for key in self._dirty:
            partition, camera = key
            cameras = self._open.setdefault(partition, {})
            if len(self._watches[key].alerts):
                cameras[camera] = seen_ms(key)
            elif cameras.pop(camera, None) is None:
                continue
            changed.add(partition)
        return changed

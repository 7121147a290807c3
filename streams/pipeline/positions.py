"""Where each partition of a worker stands: where it began, what is stored, what stays quiet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from streams.errors import ForeignState
from streams.pipeline.dead_letter import Buried
from streams.schemas import Record
from streams.status import Status


class Positions:
    """What a worker knows of the partitions that it holds. Use from one event loop."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._begun: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._leaving: set[int] = set()
        self.quiet_below: dict[int, int] = {}
        """By partition that is being rebuilt, the offset at which that ends."""
        self._buried: dict[int, Buried] = {}  # of partitions that are being rebuilt
        self.done_below: dict[int, int] = {}
        """By partition, the offset below which all is known to be done with."""
        self.markers: dict[int, int] = {}
        """Highest stored offset by partition, of what this process has claimed or flushed."""

    def begin(
        self,
        partition: int,
        first: int,
        *,
        quiet_below: int = 0,
        buried: Buried | None = None,
        done_below: int = 0,
    ) -> None:
        """Expect the partition's records from offset `first` on.

        Those below `quiet_below` are applied without any output, but for those that are `buried`:
        the state is being rebuilt. Those below `done_below` are known to be done with.
        """
        self._begun[partition] = self._next[partition] = first
        self.done_below[partition] = done_below
        if first < quiet_below and partition not in self.quiet_below:
            self.quiet_below[partition] = quiet_below
            self._status.rebuild(partition, first, quiet_below)
        if buried is not None:
            self._buried[partition] = buried

    def applicable(self, partition: int, records: list[Record]) -> list[Record]:
        """Leave out what a rebuild of the partition passes over."""
        buried = self._buried.get(partition)
        return records if buried is None else buried.without(records)

    def take(self, batch: Any) -> None:
        """Note that a partition batch of the transport has come.

        Raises:
            ForeignState: its offsets went backwards. A log that does so is another log, and its
                offsets mean nothing to our state.
        """
        partition, first = batch.tp.partition, batch.first_offset
        if first < self._next.get(partition, 0):
            raise ForeignState(
                f"partition {partition} of {batch.topic!r} went back to offset {first} from "
                f"{self._next[partition]}: the topic was deleted and made again"
            )
        self._next[partition] = batch.last_offset + 1

    def reached(self, partition: int) -> int:
        """Return the first offset of the partition that is not stored yet."""
        return max(self.markers.get(partition, -1) + 1, self._begun.get(partition, 0))

    def covered(self, ends: Mapping[int, int]) -> dict[int, int]:
        """Return the marker that a flush writes by partition, after batches up to `ends`.

        A replay ends below what is stored, and its flush must not take the marker back: a crash
        behind it would start with an older marker than its state has.
        """
        return {one: max(end, self.markers.get(one, -1)) for one, end in ends.items()}

    def reach(self, partition: int, position: int) -> None:
        """Note that all below `position` is stored: a rebuild that ends there is over."""
        end = self.quiet_below.get(partition)
        if end is None:
            return
        self._status.rebuild_at(partition, position)
        if position >= end:
            del self.quiet_below[partition]
            self._buried.pop(partition, None)
            self._status.rebuilt(partition)

    def holds(self, partition: int) -> bool:
        """Whether a partition has state that is ours to change."""
        ours = partition in self._begun and partition not in self._leaving
        return ours and partition in self.markers

    def leave(self, partitions: Iterable[int]) -> None:
        """Note that partitions are being given away; `forget` follows."""
        self._leaving.update(partitions)

    def forget(self, partition: int) -> None:
        """Know nothing of a partition that went elsewhere."""
        self._buried.pop(partition, None)
        for known in (self.quiet_below, self.done_below, self._begun, self._next, self.markers):
            known.pop(partition, None)
        self._leaving.discard(partition)
        self._status.rebuilt(partition)

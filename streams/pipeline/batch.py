"""What passes between the steps of the data path, and the contract of a detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.schemas import Record
from streams.state.store import PartitionSnapshot

CameraKey = tuple[int, str]
"""Partition and id."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one or more partitions, each partition's in offset order."""

    records: list[Record]
    partitions: NDArray[np.int32]  # (B,)
    sequence: int
    """Counts batches in the order in which they were submitted."""

    quiet_below: Mapping[int, int] = field(default_factory=dict)
    """Partitions that are being rebuilt: offsets below are applied without any output."""

    done_below: Mapping[int, int] = field(default_factory=dict)
    """Offsets below had their fate, all of it stored, before the process started: none is buried
    again. The rows of an agent with an outbox do not know what they have seen, this tells them."""

    silent: Mapping[CameraKey, float] = field(default_factory=dict)
    """Cameras to close, unless something was heard of them since the time given; a batch that
    says so has no records."""

    @property
    def ends(self) -> dict[int, int]:
        """Return the highest offset by partition."""
        last: dict[int, int] = {}
        for partition in np.unique(self.partitions).tolist():
            index = int(np.flatnonzero(self.partitions == partition)[-1])
            last[partition] = self.records[index].offset
        return last

    def halves(self) -> tuple[Batch, Batch]:
        """Split in two, for the search for the record that fails a batch."""
        middle = len(self.records) // 2
        return self.part(0, middle), self.part(middle, len(self.records))

    def part(self, start: int, stop: int) -> Batch:
        """Return the records from `start` to `stop` as a batch of their own."""
        return Batch(
            self.records[start:stop],
            self.partitions[start:stop],
            self.sequence,
            self.quiet_below,
            self.done_below,
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One record to be produced."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None
    """None leaves it to the default partitioner (murmur2 of the key, as in the Java client)."""

    sent_at: int = 0
    """Record timestamp (ms) of the event behind it, for the latency; 0 for none."""


@dataclass(slots=True)
class Outcome:
    """What scoring a batch brought."""

    messages: list[Message] = field(default_factory=list)
    events: int = 0
    alerts: int = 0
    dead_letters: int = 0
    replayed: int = 0
    """Events that the state had applied before; dropped."""

    tallies: list[Callable[[], None]] = field(default_factory=list)
    """Called once when all of it is stored: a batch that fails is scored again, and what it brought
    the first time counts no more."""

    held: list[Message] = field(default_factory=list)
    """Alerts that leave after the flush that covers the batch, which must have stored them: an
    outbox. For a detector whose replay of a batch may decide differently."""


class Publisher(Protocol):
    """Where what a batch brought goes out. Called from one event loop."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when every one of `messages` is acknowledged; waits an outage out.

        Messages of one destination keep their order. May be called again before it has returned,
        and again with the same messages after a failure: consumers drop what they have seen.
        """


class Detector(Protocol):
    """One kind of detection: the half that prepares a batch and the half that infers.

    `prepare`, `freeze`, `flushed` and `drop` are called on the prepare thread, `infer` and `pack`
    on the inference thread, each for one batch at a time and in the order of submission. All may
    block. An exception from `prepare` or `infer` leaves the rows half advanced: the caller drops
    them and goes back to the last flush.
    """

    def prepare(self, batch: Batch) -> Any:
        """Decode, load rows, drop replays, compute features; the rows are advanced after it."""

    def infer(self, prepared: Any) -> Outcome:
        """Run the network and decide; nothing leaves the process here."""

    def probe(self) -> None:
        """Infer what is no record, to tell a device that fails from a record that does.

        Called on the inference thread. Changes nothing; raises whatever a batch would.
        """

    def reject(self, batch: Batch, reason: str) -> Outcome:
        """Turn a batch that cannot be scored into dead letters."""

    def freeze(self, sequence: int) -> Any:
        """Copy the rows that changed since the last freeze, up to batch `sequence`."""

    def pack(self, frozen: Any, markers: Mapping[int, int]) -> Iterable[PartitionSnapshot]:
        """Turn frozen rows into what the store writes, one snapshot for each partition.

        What `infer` has held since the last call goes with them.
        """

    def flushed(self, sequence: int) -> None:
        """Note that everything up to batch `sequence` is in the store."""

    def drop(self, partitions: set[int] | None) -> None:
        """Forget the rows of `partitions`; None forgets all."""


class CameraWatcher(Protocol):
    """What a detector that follows cameras knows of those that send no more.

    Called on the two threads as the halves of a batch are, and between batches.
    """

    def known(self, partitions: Iterable[int]) -> Any:
        """Learn of what is open in partitions that are new; on the prepare thread."""

    def silent(self, known: Any, read_to: Mapping[int, float]) -> Mapping[CameraKey, float]:
        """Say which cameras are silent, and since when; on the inference thread.

        Args:
            known: what the other half gave.
            read_to: the time up to which each partition is read, in seconds of its own clock.
        """

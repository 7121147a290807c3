"""What is under way between being accepted and being acknowledged, and its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streams.pipeline.batch import Batch, Outcome
from streams.pipeline.positions import Positions


@dataclass(eq=False, slots=True)
class Job:
    """A batch under way and the Faust events that it covers."""

    batch: Batch
    ends: dict[int, int]
    """Highest offset by partition, with what was fetched behind the last record."""

    events: list[Any]
    done: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """Settled when the broker has acknowledged all but what is held, or with the failure."""

    span: Any = None
    """Of `streams.tracing`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes that bound memory and latency."""

    max_batch: int
    max_unflushed: int
    """Records accepted and not yet acknowledged; beyond it the agent stops taking more."""

    flush_interval_s: float
    batch_wait_s: float = 0.0
    """While a batch is under way, one that is not full waits this long for more records."""

    max_unflushed_bytes: int = 256 * 2**20
    """As `max_unflushed`, in bytes of values: records may be small or large."""


def joined(events: list[Any], sequence: int, positions: Positions) -> Job:
    """Join waiting partition batches into one batch."""
    homes = [event.value.tp.partition for event in events]
    parts = [
        positions.applicable(home, event.value.records)
        for home, event in zip(homes, events, strict=True)
    ]
    records, sizes = [record for part in parts for record in part], list(map(len, parts))
    # To the end of what was fetched: behind the last record may lie transaction markers.
    ends = {home: event.value.next_offset - 1 for home, event in zip(homes, events, strict=True)}
    partitions = np.repeat(np.array(homes, np.int32), sizes)
    quiet, done = dict(positions.quiet_below), dict(positions.done_below)
    return Job(Batch(records, partitions, sequence, quiet, done), ends, events)


def ends_of(jobs: Iterable[Job]) -> dict[int, int]:
    """Return the highest offset by partition of jobs in their order."""
    ends: dict[int, int] = {}
    for job in jobs:
        ends.update(job.ends)
    return ends

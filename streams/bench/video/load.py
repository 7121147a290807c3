"""Cameras at a pace before a worker, and the account of what became of their frames."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from streams.bench.subject import Worker
from streams.frame_metrics import FATES
from streams.scrape import Samples, histogram_quantile

T = TypeVar("T")

ACKNOWLEDGED: Final = "tocsin_acknowledged_total"
FRAMES: Final = "tocsin_frames_total"
CAMERA_FRAMES: Final = "tocsin_camera_frames_total"
FRAME_LATENCY: Final = "tocsin_frame_latency_seconds"
ALERT_LATENCY: Final = "tocsin_alert_latency_seconds"
BATCH: Final = "tocsin_detect_batch_size"

SKIPPED: Final = ("late", "stale", "too often")
LOOK_S: Final = 0.5
DRAIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of the frames of one interval, and when."""

    produced: int
    detected: int
    still: int
    dropped: int
    """Skipped by the policy: late, stale or too often."""

    other: int
    """Rejected or replayed: there should be none."""

    unaccounted: int
    """By how many frames the counters of the cameras miss what was produced, over all cameras."""

    frame_p50_ms: float
    frame_p99_ms: float
    frame_max_ms: float
    """From capture to tracked; the longest, to 15 %."""

    @property
    def dropped_share(self) -> float:
        """Return the share of the frames that the policy skipped."""
        return self.dropped / max(self.produced, 1)

    @classmethod
    def of(cls, sent: Mapping[str, int], seen: Samples) -> Fates:
        """Settle `sent` frames by camera with the counters of the interval, `seen`."""
        count = {fate: round(seen.get(FRAMES, fate=fate)) for fate in FATES}
        dropped = sum(count[fate] for fate in SKIPPED)
        by_camera = (abs(sent[name] - seen.get(CAMERA_FRAMES, camera=name)) for name in sent)
        p50, p99 = (1000 * histogram_quantile(seen, FRAME_LATENCY, q) for q in (0.5, 0.99))
        return cls(
            produced=sum(sent.values()),
            detected=count["detected"],
            still=count["still"],
            dropped=dropped,
            other=sum(count.values()) - dropped - count["detected"] - count["still"],
            unaccounted=round(sum(by_camera)),
            frame_p50_ms=p50,
            frame_p99_ms=p99,
            frame_max_ms=1000 * longest(seen, FRAME_LATENCY),
        )


def longest(seen: Samples, name: str) -> float:
    """Return the bound of a histogram's last bucket that holds anything; nan while it is empty."""
    last, below = math.nan, 0.0
    for bound, count in seen.buckets(name):
        if count > below:
            last, below = bound, count
    return last


async def watched(worker: Worker, work: Coroutine[Any, Any, T]) -> tuple[T, int]:
    """Await `work`; return what it gives, and the largest backlog meanwhile, in records.

    Raises:
        ServerFailed: the worker ended.
    """
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            seen = await asyncio.to_thread(worker.metrics)
            most = max(most, round(seen.get("tocsin_lag_records")))
            await asyncio.sleep(LOOK_S)

    doing, looking = asyncio.ensure_future(work), asyncio.ensure_future(look())
    try:
        await asyncio.wait([doing, looking], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            looking.result()  # the worker ended: this raises
        return await doing, most
    finally:
        for task in (doing, looking):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def drained(worker: Worker, before: Samples, sent: Counter[str], extra: int = 0) -> Samples:
    """Wait until the worker has acknowledged what was sent; return its counters since `before`.

    Raises:
        ServerFailed: the worker ended, or does not catch up.
    """
    wanted = before.get(ACKNOWLEDGED) + sent.total() + extra
    return worker.wait_for(ACKNOWLEDGED, wanted, DRAIN_S).since(before)


def cores(worker: Worker, started: float) -> float:
    """Return the CPU time by wall-clock time that the worker has taken since `started`."""
    ended = time.time()
    return worker.cpu_between(started, ended) / (ended - started)

"""One paced run of cameras before a worker: latency, and what becomes of the frames."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from streams.bench.subject import Worker
from streams.bench.video.feed import pace
from streams.bench.video.footage import Footage
from streams.bench.video.load import ALERT_LATENCY, BATCH, Fates, cores, drained, watched
from streams.bench.video.subject import Place, new_place, vision_worker
from streams.scrape import Samples, histogram_quantile
from streams.settings import Settings

CAMERAS: Final = 4
FPS: Final = 5.0

WARM_S: Final = 4.0
"""The first seconds load cameras and fill caches; they are not measured."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pace:
    """What cameras send, and for how long it is measured."""

    cameras: int
    fps: float
    seconds: float
    mark: str = "camera"
    """Of the cameras' names."""


@dataclass(frozen=True, slots=True)
class PacedRun:
    """What a worker made of it."""

    fates: Fates
    seen: Samples
    """Its counters of the interval."""

    backlog: int
    """Most records that were on the topic and not acknowledged."""

    worker_cores: float


def run(
    settings: Settings, place: Place, footage: Footage, worker: Worker, pace_: Pace
) -> PacedRun:
    """Pace cameras before a worker that is ready, let it catch up, and settle the account.

    Raises:
        ServerFailed: the worker ended, or does not catch up.
    """
    begun = time.time()

    def send(seconds: float) -> Any:
        return pace(
            settings, place.frames, footage,
            cameras=pace_.cameras, fps=pace_.fps, seconds=seconds, mark=pace_.mark,
        )  # fmt: skip

    before = worker.metrics()
    warm = asyncio.run(send(WARM_S))
    drained(worker, before, warm)
    before, begun = worker.metrics(), time.time()
    sent, backlog = asyncio.run(watched(worker, send(pace_.seconds)))
    busy = cores(worker, begun)
    seen = drained(worker, before, sent)
    return PacedRun(Fates.of(sent, seen), seen, backlog, busy)


def measure(settings: Settings, footage: Footage, seconds: float, say: Say) -> dict[str, Any]:
    """Latency from capture to alert, with a worker's default settings.

    Raises:
        ServerFailed: the worker ended, or does not catch up.
    """
    place = new_place(settings)
    with vision_worker(settings, place) as worker:
        worker.watch()
        worker.wait_for("tocsin_ready", 1, 120.0)
        found = run(settings, place, footage, worker, Pace(CAMERAS, FPS, seconds))
    told = report(found)
    say(
        f"{CAMERAS} cameras at {FPS:g} fps: alert p50 {told['alert_ms']['p50']:.0f} ms, "
        f"p99 {told['alert_ms']['p99']:.0f} ms, {told['fates']['dropped']} frames dropped"
    )
    return {"cameras": CAMERAS, "fps": FPS, "seconds": seconds, **told}


def report(found: PacedRun) -> dict[str, Any]:
    """Latencies in ms, of alerts (acknowledged by the broker) and of frames (tracked)."""
    calls = found.seen.get(f"{BATCH}_count")
    return {
        "alert_ms": {
            name: 1000 * histogram_quantile(found.seen, ALERT_LATENCY, q)
            for name, q in (("p50", 0.5), ("p99", 0.99))
        },
        "alerts": round(found.seen.get(f"{ALERT_LATENCY}_count")),
        "frame_ms": {
            "p50": found.fates.frame_p50_ms,
            "p99": found.fates.frame_p99_ms,
            "max": found.fates.frame_max_ms,
        },
        "fates": asdict(found.fates),
        "batch_mean": found.seen.get(f"{BATCH}_sum") / calls if calls else 0.0,
        "backlog": found.backlog,
        "worker_cores": found.worker_cores,
    }

"""Frames/s of the whole path, Kafka to alert, beside a bare decode-and-detect loop.

Both get the same pictures, network, batches and threads; the path has them as a backlog on its
topic and keeps all of them.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from streams.bench.report import Throughput
from streams.bench.subject import Program
from streams.bench.systems import check_committed
from streams.bench.video.bare import BareAssignment
from streams.bench.video.feed import preload
from streams.bench.video.footage import FPS, Footage
from streams.bench.video.subject import Place, model_of, new_place, vision_worker
from streams.errors import TocsinError
from streams.settings import Settings

CAMERAS: Final = 4
LIMIT_S: Final = 900.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pair:
    """The path and the loop, one after the other."""

    path: Throughput
    bare: Throughput
    batch_fill: float
    """Frames in one call of the network, of those that fit."""

    @property
    def ratio(self) -> float:
        """Return the path's frames/s by the loop's."""
        return self.path.events_per_s / self.bare.events_per_s


def compare(
    settings: Settings, footage: Footage, frames: int, runs: int, say: Say
) -> dict[str, Any]:
    """Run the two in turn, `runs` times over `frames` frames each; return the report.

    Raises:
        ServerFailed: one of them ended early or took too long.
        TocsinError: the path did not detect every frame.
    """
    place = new_place(settings)
    asyncio.run(preload(settings, place.frames, footage, cameras=CAMERAS, fps=FPS, frames=frames))
    say(f"preloaded {frames:,} frames of {CAMERAS} cameras")
    pairs = []
    for _ in range(runs):
        bare = measure_bare(settings, footage, frames)
        path, batch_fill = measure_path(settings, new_place(settings, place.frames), frames)
        pairs.append(Pair(path, bare, batch_fill))
        say(
            f"path {path.events_per_s:.1f} frames/s, bare loop {bare.events_per_s:.1f}: "
            f"{pairs[-1].ratio:.3f}"
        )
    return report(pairs)


def report(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Put the medians side by side; the ratio is the median of the pairs' own ratios.

    Neighbours on a busy machine disturb both runs of a pair alike, but not two pairs.
    """
    return {
        "ratio": median(pair.ratio for pair in pairs),
        "ratios": [pair.ratio for pair in pairs],
        "path": _summary([pair.path for pair in pairs]),
        "bare": _summary([pair.bare for pair in pairs]),
        "batch_fill": median(pair.batch_fill for pair in pairs),
        "alerts": pairs[-1].path.alerts,
    }


def _summary(runs: Sequence[Throughput]) -> dict[str, Any]:
    return {
        "frames_per_s": median(run.events_per_s for run in runs),
        "cpu_ms_per_frame": median(run.cpu_s * 1000 / run.events for run in runs),
        "peak_rss_mib": median(run.peak_rss_mib for run in runs),
        "frames": runs[-1].events,
        "runs": [run.events_per_s for run in runs],
    }


def measure_path(settings: Settings, place: Place, frames: int) -> tuple[Throughput, float]:
    """Run a worker over the backlog; return its throughput, and how full its batches were.

    From the first frame taken to the last one acknowledged: stored, its alerts published.

    Raises:
        ServerFailed: it ended early or took too long.
        TocsinError: it did not commit the topic, or did not detect every frame.
    """
    batch = settings.vision.max_batch
    with vision_worker(
        settings, place, policy="keep-all", motion_gate=False, max_batch=batch,
        threads=settings.vision.threads, confidence=settings.vision.confidence,
    ) as worker:  # fmt: skip
        worker.watch()
        seen = worker.wait_for("tocsin_acknowledged_total", frames, LIMIT_S)
        started = seen.get("tocsin_first_event_timestamp_seconds")
        finished = seen.get("tocsin_last_progress_timestamp_seconds")
        check_committed(settings.kafka, place.group, place.frames)
        detected = round(seen.get("tocsin_frames_total", fate="detected"))
        if detected != frames:
            raise TocsinError(f"{detected} of {frames} frames were detected, all were to be kept")
        calls = seen.get("tocsin_detect_batch_size_count")
        return Throughput(
            events=frames,
            seconds=finished - started,
            cpu_s=worker.cpu_between(started, finished),
            peak_rss_mib=worker.peak_rss_mib(),
            alerts=round(seen.get("tocsin_alerts_total")),
        ), frames / (calls * batch)


def measure_bare(settings: Settings, footage: Footage, frames: int) -> Throughput:
    """Run the loop over the same frames.

    Raises:
        ServerFailed: it ended early or took too long.
    """
    vision = settings.vision
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        pictures = Path(folder) / "pictures"
        footage.write(pictures)
        assignment = BareAssignment(
            pictures=str(pictures),
            frames=frames,
            batch=vision.max_batch,
            model=model_of(settings),
            device=vision.device,
            threads=vision.threads,
            confidence=vision.confidence,
        )
        with Program("video.bare", assignment) as program:
            program.watch()
            measured = program.result(LIMIT_S)
            return Throughput(
                events=measured.events,
                seconds=measured.finished_at - measured.started_at,
                cpu_s=program.cpu_between(measured.started_at, measured.finished_at),
                peak_rss_mib=measured.peak_rss_mib,
                alerts=0,
            )

"""Twice the load that a worker can hold, under the freshest-frame policy.

What it can hold is measured first, on a backlog of which it keeps every frame. Then cameras send
twice as much, and each frame of each must turn up in a counter.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, Final

from streams.bench.video.feed import preload
from streams.bench.video.footage import FPS, Footage
from streams.bench.video.paced import Pace, report, run
from streams.bench.video.ratio import CAMERAS, measure_path
from streams.bench.video.subject import new_place, vision_worker
from streams.errors import TocsinError
from streams.settings import Settings

TIMES: Final = 2.0

Say = Callable[[str], None]


def measure(
    settings: Settings, footage: Footage, frames: int, seconds: float, say: Say
) -> dict[str, Any]:
    """Find out what a worker holds with `frames` frames, then send twice that for `seconds`.

    Raises:
        ServerFailed: the worker ended, or does not catch up.
        TocsinError: frames are unaccounted for.
    """
    capacity = _capacity(settings, footage, frames)
    cameras = max(1, math.ceil(TIMES * capacity / FPS))
    pace = Pace(cameras, TIMES * capacity / cameras, seconds)
    say(f"one worker holds {capacity:.1f} frames/s: {cameras} cameras send {TIMES:g} times that")
    place = new_place(settings)
    batch = settings.vision.max_batch
    with vision_worker(settings, place, motion_gate=False, max_batch=batch) as worker:
        worker.watch()
        worker.wait_for("tocsin_ready", 1, 120.0)
        found = run(settings, place, footage, worker, pace)
    if found.fates.unaccounted or found.fates.other:
        raise TocsinError(
            f"{found.fates.unaccounted} of {found.fates.produced} frames are unaccounted for, "
            f"{found.fates.other} were rejected or replayed"
        )
    told = report(found)
    say(
        f"{found.fates.produced} sent, {found.fates.detected} detected, {found.fates.dropped} "
        f"dropped; frames done at {told['frame_ms']['p99']:.0f} ms (p99)"
    )
    max_age_ms = settings.vision.max_age_s * 1000
    return {
        "capacity_fps": capacity,
        "offered_fps": found.fates.produced / seconds,
        "detected_fps": found.fates.detected / seconds,
        "cameras": cameras,
        "seconds": seconds,
        "batch_fill": told["batch_mean"] / batch,
        "max_age_ms": max_age_ms,
        "is_bounded": told["frame_ms"]["p99"] <= max_age_ms,
        **told,
    }


def _capacity(settings: Settings, footage: Footage, frames: int) -> float:
    place = new_place(settings)
    asyncio.run(preload(settings, place.frames, footage, cameras=CAMERAS, fps=FPS, frames=frames))
    throughput, _ = measure_path(settings, place, frames)
    return throughput.events_per_s

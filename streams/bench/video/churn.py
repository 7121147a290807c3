"""Memory of a vision worker over time, with cameras coming and going every few seconds.

A few cameras are on at a time. Each stays for seconds, then leaves, every second one with a word;
after some minutes its name comes back, when the worker has long forgotten it. Everything that has
a limit (cameras in memory, bytes of pictures in Redis, the log of Kafka) reaches it early.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

import numpy as np

from streams.bench.memory import FLAT_MIB_PER_MIN, RETENTION, WARM_SHARE, Course
from streams.bench.procfs import open_files, threads
from streams.bench.subject import Worker
from streams.bench.video.feed import TICK_S, FrameFeed
from streams.bench.video.footage import Footage
from streams.bench.video.load import FRAMES, drained
from streams.bench.video.subject import Place, new_place, vision_worker
from streams.frame_metrics import FATES
from streams.settings import Settings
from streams.state.redis_client import open_client

ON: Final = 4
"""Cameras at a time."""

FPS: Final = 4.0
STAY_S: Final = 4.0
NAMES: Final = 96
"""Cameras in all: one comes every second, so they are through after a minute and a half."""

HELD: Final = 48
"""Cameras that the worker holds in memory."""

PICTURE_BYTES: Final = 8 * 2**20
SAMPLE_S: Final = 2.0
SAY_S: Final = 30.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Visit:
    """One frame of a camera that is on, or, without a number, its leaving with a word."""

    at_s: float
    camera: int
    number: int | None


def visits(seconds: float) -> Iterator[Visit]:
    """Give what happens for `seconds`, in order: the cameras that are on take turns.

    Place p of the `ON` places begins p parts of a stay late, so that somebody comes or goes every
    `STAY_S` / `ON` seconds.
    """
    frames = round(STAY_S * FPS)
    for tick in range(round(seconds * FPS * ON)):
        place, at_s = tick % ON, tick / (FPS * ON)
        turn, number = divmod(tick // ON + place * frames // ON, frames)
        camera = (turn * ON + place) % NAMES
        yield Visit(at_s, camera, number)
        if number == frames - 1 and turn % 2:
            yield Visit(at_s, camera, None)


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker at one moment."""

    at_s: float
    rss_mib: float
    files: int
    threads: int
    redis_keys: int


def summary(samples: list[Sample]) -> dict[str, Any]:
    """Compare the two halves of what comes after the warm-up; at least two samples of it."""
    course = Course.of([(one.at_s, one.rss_mib) for one in samples])
    begin = samples[0].at_s + WARM_SHARE * (samples[-1].at_s - samples[0].at_s)
    settled = [one for one in samples if one.at_s >= begin]
    half = len(settled) // 2
    return {
        "rss_mib": {**asdict(course), **_halves([one.rss_mib for one in settled], half)},
        "flat": course.slope_mib_per_min <= FLAT_MIB_PER_MIN,
        "files": _halves([one.files for one in settled], half),
        "threads": _halves([one.threads for one in settled], half),
        "redis_keys": _halves([one.redis_keys for one in settled], half),
    }


def _halves(values: list[Any], half: int) -> dict[str, float]:
    return {
        "first_half": float(median(values[:half] or values)),
        "second_half": float(median(values[half:])),
        "most": float(np.max(values)),
    }


def watch(settings: Settings, footage: Footage, minutes: float, say: Say) -> dict[str, Any]:
    """Run a worker for `minutes` and return the report.

    Raises:
        ServerFailed: the worker ended, or does not catch up.
    """
    config = {name.replace(".", "_"): value for name, value in RETENTION.items()}
    place = new_place(settings, **config)
    limits = {"cameras": HELD, "snapshot_max_bytes": PICTURE_BYTES}
    with vision_worker(settings, place, **limits) as worker:
        worker.watch()
        before = worker.wait_for("tocsin_ready", 1, 120.0)
        run = _Run(settings, place, footage, worker, say)
        asyncio.run(run.feed(minutes * 60))
        seen = drained(worker, before, run.sent, run.words)
    counted = sum(seen.get(FRAMES, fate=fate) for fate in FATES)
    return {
        **summary(run.samples),
        "minutes": minutes,
        "cameras_on": ON,
        "cameras_came": run.came,
        "cameras_held": HELD,
        "frames": run.sent.total(),
        "detected": round(seen.get(FRAMES, fate="detected")),
        "alerts": round(seen.get("tocsin_alerts_total")),
        "unaccounted": round(run.sent.total() - counted),
    }


class _Run:
    """Feeds a worker, and watches it."""

    def __init__(
        self, settings: Settings, place: Place, footage: Footage, worker: Worker, say: Say
    ) -> None:
        self._settings, self._place, self._footage = settings, place, footage
        self._worker, self._say = worker, say
        self._feed = FrameFeed(settings, place.frames, footage)
        self.sent = self._feed.sent
        self.words = self.came = 0
        self.samples: list[Sample] = []

    async def feed(self, seconds: float) -> None:
        """Send the cameras' frames for `seconds`."""
        begun = time.time()
        watching = asyncio.ensure_future(self._watch(begun))
        try:
            async with self._feed as feed:
                for visit in visits(seconds):
                    if watching.done():
                        break
                    if (early_s := begun + visit.at_s - time.time()) > 0:
                        await asyncio.sleep(max(early_s, TICK_S))
                    await self._one(feed, visit, begun)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _one(self, feed: FrameFeed, visit: Visit, begun: float) -> None:
        name = f"visitor-{visit.camera:03d}"
        if visit.number is None:
            self.words += 1
            await feed.down(name)
            return
        self.came += visit.number == 0
        picture = self._footage.of(visit.camera, NAMES, visit.number)
        await feed.send(name, feed.sent[name], begun + visit.at_s, picture)

    async def _watch(self, begun: float) -> None:
        said = -SAY_S
        while True:
            sample = await asyncio.to_thread(self._sample, time.time() - begun)
            self.samples.append(sample)
            if sample.at_s - said >= SAY_S:
                said = sample.at_s
                self._say(
                    f"{sample.at_s:5.0f} s  {sample.rss_mib:6.0f} MiB  {sample.files} files  "
                    f"{sample.threads} threads  {sample.redis_keys} keys  "
                    f"{self.sent.total():,} frames of {self.came:,} visits"
                )
            await asyncio.sleep(SAMPLE_S)

    def _sample(self, at_s: float) -> Sample:
        pid = self._worker.pid
        return Sample(
            at_s, self._worker.rss_mib(), open_files(pid), threads(pid), self._redis_keys()
        )

    def _redis_keys(self) -> int:
        client = open_client(self._settings.redis)
        try:
            return sum(1 for _ in client.scan_iter(match=f"{self._place.group}*", count=1000))
        finally:
            client.close()

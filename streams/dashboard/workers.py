"""What the workers say about themselves, asked every few seconds and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.errors import WorkerError
from streams.frame_metrics import FATES
from streams.scrape import Samples, increase, readiness, scrape

EVERY_S: Final = 2.0
SPAN: Final = 5
"""Answers that a rate or a percentile is taken over: ten seconds, and more of a slow worker."""

HELD: Final = 4 * SPAN
"""Answers held of each worker, of some 120 KiB each; what is charted of one is taken at once."""

SILENT: Final = "does not answer"


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera, as a worker reports it: whether it is up, when its last frame came (ms), fates.

    `rates` are frames a second by fate, over the worker's last answers; None until there are two,
    and where it does not answer.
    """

    up: bool
    last_frame: int | None
    frames: dict[str, float]
    rates: dict[str, float] | None = None


@dataclass(slots=True)
class Watched:
    """One worker; `answers` are (epoch seconds, samples), the newest last."""

    address: str
    reasons: list[str] = field(default_factory=lambda: ["not asked yet"])
    answers: deque[tuple[float, Samples]] = field(default_factory=lambda: deque(maxlen=HELD))

    @property
    def latest(self) -> Samples:
        """Its last answer."""
        return self.answers[-1][1] if self.answers else Samples({})

    @property
    def answers_now(self) -> bool:
        """Whether it answered when it was last asked."""
        return self.reasons != [SILENT]

    def ask(self) -> None:
        """Ask once; blocks for up to seconds."""
        try:
            self.reasons = readiness(f"{self.address}/readyz")
            self.answers.append((time.time(), scrape(f"{self.address}/metrics")))
        except WorkerError:
            self.reasons = [SILENT]


class Workers:
    """All workers that the settings name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.all = [Watched(address.rstrip("/")) for address in addresses]

    async def watch(self) -> None:
        """Ask them until cancelled."""
        while True:
            await asyncio.gather(*(asyncio.to_thread(one.ask) for one in self.all))
            await asyncio.sleep(EVERY_S)

    def cameras(self) -> dict[str, Camera]:
        """Name the cameras that they know; of several workers the one counts that saw it last.

        Of a worker that does not answer they are down: nobody looks at them.
        """
        found: dict[str, Camera] = {}
        for worker in self.all:
            for name, labels in worker.latest.values:
                if name != "tocsin_camera_up":
                    continue
                camera = dict(labels)["camera"]
                here, there = _camera(worker, camera), found.get(camera)
                if there is None or _order(here) > _order(there):
                    found[camera] = here
        return found

    def rules(self) -> list[tuple[str, bool]]:
        """Give the digest of each vision worker's rules, and whether it refuses the file there."""
        return [
            (dict(labels)["sha256"], bool(worker.latest.get("tocsin_rules_refused")))
            for worker in self.all
            for (name, labels) in worker.latest.values
            if name == "tocsin_rules_info"
        ]


def _camera(worker: Watched, camera: str) -> Camera:
    samples = worker.latest
    seen = samples.get("tocsin_camera_frame_timestamp_seconds", camera=camera)
    return Camera(
        up=worker.answers_now and bool(samples.get("tocsin_camera_up", camera=camera)),
        last_frame=round(seen * 1000) if seen else None,
        frames={fate: count for fate, count in _counts(samples, camera).items() if count},
        rates=_rates(worker, camera) if worker.answers_now else None,
    )


def _counts(samples: Samples, camera: str) -> dict[str, float]:
    return {
        fate: samples.get("tocsin_camera_frames_total", camera=camera, fate=fate) for fate in FATES
    }


def _rates(worker: Watched, camera: str) -> dict[str, float] | None:
    """Frames a second by fate, by the times of the answers: they come when they come."""
    answers = list(worker.answers)[-1 - SPAN :]
    seconds = answers[-1][0] - answers[0][0] if answers else 0.0
    if seconds <= 0:
        return None
    counts = [_counts(samples, camera) for _, samples in answers]
    return {fate: increase(one[fate] for one in counts) / seconds for fate in FATES}


def _order(camera: Camera) -> tuple[bool, int]:
    return camera.up, camera.last_frame or 0

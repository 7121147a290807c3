"""What the workers say about themselves, asked every few seconds and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.errors import WorkerError
from streams.scrape import Samples, readiness, scrape

EVERY_S: Final = 2.0
KEPT: Final = 450
"""Answers of each worker: a quarter of an hour."""


@dataclass(slots=True)
class Watched:
    """One worker; `answers` are (epoch seconds, samples), the newest last."""

    address: str
    reasons: list[str] = field(default_factory=lambda: ["not asked yet"])
    answers: deque[tuple[float, Samples]] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def latest(self) -> Samples:
        """Its last answer."""
        return self.answers[-1][1] if self.answers else Samples({})

    def ask(self) -> None:
        """Ask once; blocks for up to seconds."""
        try:
            self.reasons = readiness(f"{self.address}/readyz")
            self.answers.append((time.time(), scrape(f"{self.address}/metrics")))
        except WorkerError:
            self.reasons = ["does not answer"]


class Workers:
    """All workers that the settings name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.all = [Watched(address.rstrip("/")) for address in addresses]

    async def watch(self) -> None:
        """Ask them until cancelled."""
        while True:
            await asyncio.gather(*(asyncio.to_thread(one.ask) for one in self.all))
            await asyncio.sleep(EVERY_S)

    def cameras(self) -> dict[str, Samples]:
        """Name the cameras that they know, each with the answer of the worker that knows it."""
        return {
            dict(labels)["camera"]: worker.latest
            for worker in self.all
            for (name, labels) in worker.latest.values
            if name == "tocsin_camera_up"
        }

    def rules(self) -> list[tuple[str, bool]]:
        """Give the digest of each vision worker's rules, and whether it refuses the file there."""
        return [
            (dict(labels)["sha256"], bool(worker.latest.get("tocsin_rules_refused")))
            for worker in self.all
            for (name, labels) in worker.latest.values
            if name == "tocsin_rules_info"
        ]

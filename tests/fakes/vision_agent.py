"""The vision agent over a store in memory, and the frames of somebody who walks by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streams.app.build import build_agent
from streams.pipeline.batch import Batch, Outcome
from streams.schemas import Alert, decode_alert
from streams.settings import load_settings
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.status import Status
from tests.fakes.pictures import frame
from tests.fakes.records import FakeRecord

NOW = 1_700_000_000_000
STEP_MS = 100
PARTITIONS = (0, 1)


class Worker:
    """One agent and what it has said."""

    def __init__(
        self, server: MemoryServer | None = None, *, rules: Path | None = None, **settings: Any
    ) -> None:
        self.server = server or MemoryServer()
        given = {"policy": "keep-all", "threads": 1, "rules": rules, **settings}
        self.agent = build_agent(
            "vision",
            load_settings(redis={"url": "memory://"}, vision=given),
            Status(),
            lambda _: MemoryStateStore(self.server),
        )
        self.agent.store.claim(PARTITIONS, 1)
        self.detector: Any = self.agent.detector
        self.sequence = 0
        self.held: list[Alert] = []
        self.letters: list[str] = []

    def take(self, records: Sequence[FakeRecord], partition: int = 0, **batch: Any) -> Outcome:
        """Put one batch through both halves."""
        prepared = self.detector.prepare(self.batch(records, partition, **batch))
        outcome: Outcome = self.detector.infer(prepared)
        self.stored(outcome)
        self.held += [decode_alert(message.value or b"") for message in outcome.held]
        self.letters += [
            dict(message.headers)["tocsin-reason"].decode()  # type: ignore[union-attr]
            for message in outcome.messages
        ]
        return outcome

    def stored(self, outcome: Outcome) -> None:
        """Count what is in `outcome`, as the delivery does once it is stored."""
        for tally in outcome.tallies:
            tally()

    def batch(self, records: Sequence[FakeRecord], partition: int = 0, **batch: Any) -> Batch:
        """Make the next batch."""
        self.sequence += 1
        partitions = np.full(len(records), partition, np.int32)
        return Batch(list(records), partitions, self.sequence, **batch)

    def flush(self, markers: dict[int, int]) -> None:
        """Store everything, as the delivery does."""
        frozen = self.detector.freeze(self.sequence)
        for snapshot in self.detector.pack(frozen, markers):
            self.agent.store.flush(snapshot)
        self.detector.flushed(self.sequence)

    def metric(self, name: str, **labels: str) -> float:
        family = getattr(self.agent.metrics, name)
        for metric in family.collect():
            for sample in metric.samples:
                if sample.labels == labels and not sample.name.endswith("_created"):
                    return float(sample.value)
        return 0.0


def records(
    values: Sequence[bytes | None], first: int = 0, camera: str = "gate", **headers: Any
) -> list[FakeRecord]:
    return [
        frame(
            first + i,
            value,
            camera_id=camera,
            captured_at=NOW + STEP_MS * (first + i),
            **headers,
        )
        for i, value in enumerate(values)
    ]


def story(alerts: Sequence[Alert]) -> list[tuple[str, str, int]]:
    return [(alert.detail["rule"], alert.status, alert.revision) for alert in alerts]

"""The demo's scenario: wait for the workers, produce at an even pace, watch what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from models.fraud.simulator import SimulatorConfig
from models.fraud.transactions import Transactions
from streams.demo.gauges import Gauge
from streams.demo.tally import Tally
from streams.ending import end
from streams.errors import WorkerError
from streams.producers.camera import Shape
from streams.producers.kafka import KeyedProducer
from streams.producers.pace import AtRate, Pace
from streams.producers.play import Limits, Sent, play
from streams.producers.records import Labelling
from streams.producers.sources import Source
from streams.producers.transactions import simulated_days, world
from streams.producers.video import Sent as Filmed
from streams.producers.video import Until, send_video
from streams.reading import read_topic
from streams.schemas import Alert, TransactionLabel, decode_alert, decode_label
from streams.settings import Settings
from streams.supervisor import POLL_S, Supervisor

T = TypeVar("T")

START = "2018-04-01"
DROPPED = ("late", "stale", "too often")
_LABEL_DELAY_MS = 7 * 86_400_000

# A card pays 1.9 times a day, so this many for each transaction a second make a simulated day last
# 1.15 s, and the first labels come back after 8 s, at any rate.
_CARDS_PER_RATE = 0.6
_TERMINALS_PER_CARD = 2
_FEWEST_CARDS = 50

# Transactions go out in steps of this length: what the embedded broker does for a fetch grows with
# the number of batches that it holds, and without steps each batch is a few records.
_STEP_S = 0.05

_WATCH_S = 0.5
_READY_S = 120.0
_DRAIN_S = 30.0
_SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is produced: `rate` transactions a second for `duration_s` seconds, None for ever."""

    rate: float
    seed: int = 0
    duration_s: float | None = None
    cameras: Mapping[str, Source] = field(default_factory=dict)
    """What the vision agent sees; empty for a demo without it."""

    fps: float | None = None
    """Frames a second of each camera; None for the source's own."""

    def world(self) -> SimulatorConfig:
        """Size the simulated world so that its calendar runs at the same speed at any rate."""
        cards = max(_FEWEST_CARDS, round(self.rate * _CARDS_PER_RATE))
        terminals = cards * _TERMINALS_PER_CARD
        return world(customers=cards, terminals=terminals, start=START, seed=self.seed)


class Demo:
    """One run. Its attributes may be read at any time by whoever shows it.

    Args:
        settings: of the servers, topics and groups.
        scenario: what is produced.
        supervisor: of the workers.
        gauges: what each worker tells of itself.
        dashboard: its address, if there is one.
        since: when the command was given (monotonic).
    """

    def __init__(
        self,
        settings: Settings,
        scenario: Scenario,
        supervisor: Supervisor,
        gauges: Mapping[str, Gauge],
        *,
        dashboard: str | None = None,
        since: float | None = None,
    ) -> None:
        self.settings, self.scenario = settings, scenario
        self.supervisor, self.gauges = supervisor, gauges
        self.dashboard = dashboard
        self._since = time.monotonic() if since is None else since
        self._first_alert: float | None = None
        self.tally = Tally()
        self.sent = Sent()
        self.calendar_ms = 0
        """Simulated time, as of the day that is being sent; 0 before the first."""

        self.began: float | None = None
        """When the first transaction went out (monotonic)."""

        self.newest: Alert | None = None
        self.newest_object: Alert | None = None
        self.filmed = Filmed()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first transaction."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    async def run(self, show: Callable[[], None], every_s: float) -> dict[str, Any]:
        """Run the scenario, calling `show` every `every_s` seconds; return the report.

        Raises:
            WorkerError: a worker ends, does not get ready, or does not catch up at the end.
            BrokerError: the broker is gone.
        """
        topics = self.settings.topics
        return await _alongside(
            self._scenario(),
            self._for_ever(POLL_S, self.supervisor.step),
            self._for_ever(every_s, show),
            self._watch(),
            self._read(topics.alerts, self._take_alert),
            self._read(topics.labels, self._take_label),
        )

    def report(self) -> dict[str, Any]:
        """Sum the run up: counts, times in ms, rates as fractions.

        `first_alert_s` counts from the command to the first alert that came back, None before.
        """
        first = self._first_alert
        fraud, latency = self.gauges["fraud"], self.gauges["fraud"].latency
        return {
            "transactions_in": self.sent.transactions,
            "transactions_scored": fraud.count("tocsin_events_total"),
            "alerts_out": self.tally.alerts,
            "first_alert_s": None if first is None else round(first - self._since, 1),
            "latency_ms": {"p50": round(latency.p50, 2), "p99": round(latency.p99, 2)},
            "precision_so_far": round(self.tally.precision, 4),
            "frauds_seen": self.tally.frauds_seen,
            "dead_letters": self._count("tocsin_dead_letters_total"),
            **(self._video_report() if self.scenario.cameras else {}),
        }

    def _video_report(self) -> dict[str, Any]:
        vision = self.gauges["vision"]
        return {
            "frames_in": self.filmed.frames,
            "frames_detected": vision.count("tocsin_frames_total", fate="detected"),
            "frames_dropped": self.frames_dropped,
            "object_alerts": self.tally.things,
            "detect_ms": round(vision.mean_ms("tocsin_detect_seconds"), 2),
        }

    @property
    def frames_dropped(self) -> int:
        """Frames that the vision agent skipped, or the producer before it."""
        vision = self.gauges["vision"]
        skipped = (vision.count("tocsin_frames_total", fate=fate) for fate in DROPPED)
        return self.filmed.dropped + sum(skipped)

    # -- the scenario -------------------------------------------------------------------------
    async def _scenario(self) -> dict[str, Any]:
        # 1. Workers that have joined, so that the first latencies are no start-up times.
        if not await self._until(lambda: not self._not_ready(), _READY_S):
            raise WorkerError(f"not ready after {_READY_S:.0f} s: {'; '.join(self._not_ready())}")

        # 2. Transactions, and labels as their time comes.
        self.began = time.monotonic()
        await asyncio.gather(self._pay(), self._film())

        # 3. Everything scored and applied; then, briefly, everything read back by us too.
        if not await self._until(self._is_drained, _DRAIN_S):
            raise WorkerError(
                f"the workers did not catch up in {_DRAIN_S:.0f} s: {self.report()}, "
                f"{self.sent.labels} labels sent"
            )
        await self._until(self._is_read_back, _SETTLE_S)
        return self.report()

    async def _pay(self) -> None:
        async with KeyedProducer(self.settings.kafka) as producer:
            await play(
                producer,
                self.settings,
                self._days(),
                pace=_InSteps(AtRate(self.scenario.rate)),
                labelling=Labelling(_LABEL_DELAY_MS, "simulator"),
                limits=Limits(duration_s=self.scenario.duration_s),
                progress=self._progress,
            )

    async def _film(self) -> None:
        if not self.scenario.cameras:
            return
        self.filmed = await send_video(
            self.settings,
            self.scenario.cameras,
            Shape(fps=self.scenario.fps, loop=True),
            until=Until(duration_s=self.scenario.duration_s),
            progress=self._filming,
        )

    def _filming(self, filmed: Filmed) -> None:
        self.filmed = filmed

    def _not_ready(self) -> list[str]:
        return [
            f"{name}: {reason}" for name, gauge in self.gauges.items() for reason in gauge.not_ready
        ]

    def _is_drained(self) -> bool:
        produced = self.sent.transactions + self.sent.labels + self.filmed.frames
        done = self._count("tocsin_events_total") + self._count("tocsin_dead_letters_total")
        return done >= produced and not any(gauge.lag for gauge in self.gauges.values())

    def _is_read_back(self) -> bool:
        raised = self.gauges["fraud"].count("tocsin_alerts_total")
        return self.tally.labels >= self.sent.labels and self.tally.alerts >= raised

    def _count(self, name: str) -> int:
        return sum(gauge.count(name) for gauge in self.gauges.values())

    def _days(self) -> Iterator[Transactions]:
        for day in simulated_days(self.scenario.world()):
            if len(day):
                self.calendar_ms = int(day.event_time[0])
            yield day

    def _progress(self, sent: Sent) -> None:
        self.sent = sent

    # -- beside it ----------------------------------------------------------------------------
    async def _watch(self) -> None:
        while True:
            await asyncio.gather(*(asyncio.to_thread(g.poll) for g in self.gauges.values()))
            await asyncio.sleep(_WATCH_S)

    async def _read(self, topic: str, take: Callable[[bytes], None]) -> None:
        kafka = self.settings.kafka
        async for records in read_topic(kafka, topic, from_beginning=True, follow=True):
            for record in records:
                take(record.value)

    def _take_alert(self, value: bytes) -> None:
        alert = decode_alert(value)
        self._first_alert = self._first_alert or time.monotonic()
        if alert.kind == "object":
            if self.tally.object_alert(alert):
                self.newest_object = alert
        elif self.tally.alert(alert):
            self.newest = alert

    def _take_label(self, value: bytes) -> None:
        label = decode_label(value)
        if isinstance(label, TransactionLabel):
            self.tally.label(label)

    async def _for_ever(self, every_s: float, action: Callable[[], None]) -> None:
        while True:
            action()
            await asyncio.sleep(every_s)

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for `condition`; False if it is not met in time."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL_S)
        return True


class _InSteps:
    """Another pace, on a clock that ticks every `_STEP_S`."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def allowed(self, event_time: npt.NDArray[np.int64], sent: int, elapsed_s: float) -> int:
        """Allow what the other pace allowed at the last tick."""
        return self._pace.allowed(event_time, sent, elapsed_s // _STEP_S * _STEP_S)


async def _alongside(main: Coroutine[Any, Any, T], *others: Coroutine[Any, Any, None]) -> T:
    """Run `main` to its end while the endless `others` run; the first error ends them all."""
    result = asyncio.ensure_future(main)
    tasks: list[asyncio.Future[Any]] = [result, *map(asyncio.ensure_future, others)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {result}:
            task.result()
        return await result
    finally:
        await end(*tasks)

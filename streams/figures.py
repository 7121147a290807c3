"""Live precision and recall: what became of the alerts, and of the frauds, over the last days.

They need both topics joined by transaction: alerts come by card, verdicts by terminal, so no
partition of either holds both. A reader beside the labels agent follows both topics whole and
joins them in memory. It keeps no state and takes part in no delivery: a start reads what is
retained again and comes to the same figures, a repeated alert or verdict changes nothing, and a
fault of its own only leaves the figures standing still.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from streams.errors import TocsinError
from streams.metrics import Metrics
from streams.reading import read_topic
from streams.schemas import (
    DECODE_ERRORS,
    ObjectLabel,
    TransactionLabel,
    decode_alert,
    decode_label,
)
from streams.settings import Settings

log = logging.getLogger(__name__)

DAY_MS = 86_400_000

MOST = 300_000
"""Alerts, and verdicts, that are remembered: 100 MiB at worst. Those that came first go."""

EARLY = 100_000
"""Verdicts of no fraud on transactions without an alert, kept while theirs may still come."""

MOST_RULES = 64

REFRESH_S = 2.0
RETRY_S = 15.0
STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Alerts with a verdict and how many were right, frauds known and how many were alerted on."""

    judged: int
    right: int
    frauds: int
    caught: int

    @property
    def precision(self) -> float:
        """Share of the judged alerts that were fraud; nan without one."""
        return self.right / self.judged if self.judged else math.nan

    @property
    def recall(self) -> float:
        """Share of the known frauds that had been alerted on; nan without one."""
        return self.caught / self.frauds if self.frauds else math.nan


class VerdictTally:
    """Joins alerts and verdicts, in whatever order they come, over `days` of event time.

    The window ends at the newest transaction that has a verdict: of newer ones nobody knows.
    """

    def __init__(self, days: float, *, most: int = MOST, early: int = EARLY) -> None:
        self._span_ms = round(days * DAY_MS)
        self._most, self._early_limit = most, early
        self._alerts: dict[bytes, int] = {}  # transaction to its event time
        self._verdicts: dict[bytes, tuple[int, int, bool | None]] = {}
        self._early: OrderedDict[bytes, tuple[int, int, bool | None]] = OrderedDict()
        self._newest = 0

    def alert(self, tx_id: str, event_time: int) -> None:
        """Note an alert on a transaction."""
        tx = _key(tx_id)
        self._alerts[tx] = event_time
        if tx in self._early:
            self._verdicts[tx] = self._early.pop(tx)
        if len(self._alerts) > self._most:
            self._halve(self._alerts)

    def verdict(self, label: TransactionLabel) -> None:
        """Note a verdict; the later `labelled_at` wins, on a tie the last to come."""
        tx = _key(label.tx_id)
        known = self._verdicts.get(tx) or self._early.get(tx)
        if known is not None and label.labelled_at < known[1]:
            return
        said = label.event_time, label.labelled_at, label.is_fraud
        self._newest = max(self._newest, label.event_time)
        if tx in self._alerts or tx in self._verdicts or label.is_fraud:
            self._early.pop(tx, None)
            self._verdicts[tx] = said
            if len(self._verdicts) > self._most:
                self._halve(self._verdicts)
            return
        self._early[tx] = said
        if len(self._early) > self._early_limit:
            self._early.popitem(last=False)

    def figures(self) -> Figures:
        """Count over the window; what lies before it is forgotten."""
        begin = self._newest - self._span_ms
        self._alerts = {tx: at for tx, at in self._alerts.items() if at > begin}
        self._verdicts = {tx: said for tx, said in self._verdicts.items() if said[0] > begin}
        outcomes = [(tx in self._alerts, said[2]) for tx, said in self._verdicts.items()]
        return Figures(
            judged=sum(alerted and fraud is not None for alerted, fraud in outcomes),
            right=sum(alerted and fraud is True for alerted, fraud in outcomes),
            frauds=sum(fraud is True for _, fraud in outcomes),
            caught=sum(alerted and fraud is True for alerted, fraud in outcomes),
        )

    @staticmethod
    def _halve(known: dict[bytes, Any]) -> None:
        for tx in list(known)[: len(known) // 2]:
            del known[tx]


class RuleTally:
    """Counts verdicts on object alerts by the rule that raised them, over `days` of verdicts.

    An alert's id names its rule, so the alerts need not be read.
    """

    def __init__(self, days: float, *, most: int = MOST) -> None:
        self._span_ms, self._most = round(days * DAY_MS), most
        self._verdicts: dict[str, tuple[int, bool | None]] = {}  # by alert
        self._newest = 0

    def verdict(self, label: ObjectLabel) -> None:
        """Note a verdict; the later `labelled_at` wins, on a tie the last to come."""
        known = self._verdicts.get(label.alert_id)
        if known is not None and label.labelled_at < known[0]:
            return
        self._newest = max(self._newest, label.labelled_at)
        self._verdicts[label.alert_id] = label.labelled_at, label.is_true
        if len(self._verdicts) > self._most:
            for alert in list(self._verdicts)[: self._most // 2]:
                del self._verdicts[alert]

    def figures(self) -> dict[str, tuple[int, int]]:
        """Count judged alerts and right ones by rule; of at most `MOST_RULES`, the busiest."""
        begin = self._newest - self._span_ms
        self._verdicts = {one: said for one, said in self._verdicts.items() if said[0] > begin}
        judged, right = Counter[str](), Counter[str]()
        for alert, (_, outcome) in self._verdicts.items():
            _, _, rule = alert.rpartition(":")
            judged[rule] += outcome is not None
            right[rule] += outcome is True
        busiest = judged.most_common(MOST_RULES)
        return {rule: (count, right[rule]) for rule, count in busiest if count}


def _key(tx_id: str) -> bytes:
    return hashlib.blake2b(tx_id.encode(), digest_size=8).digest()


class LiveFigures:
    """Follows both topics on a thread of its own while the block runs."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._stop: Callable[[], object] = lambda: None
        self._begun = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run()), name="figures", daemon=True
        )

    def __enter__(self) -> Self:
        """Begin; nothing, where `labels.figures_days` is 0."""
        if self._settings.labels.figures_days:
            self._thread.start()
            self._begun.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End, without waiting long for a broker that hangs."""
        self._stop()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    async def _run(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopping.set)
        self._begun.set()
        work = asyncio.create_task(self._follow_for_ever())
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait([work, told], return_when=asyncio.FIRST_COMPLETED)
        if work.done():  # it never ends by itself
            log.error("live precision and recall have ended", exc_info=work.exception())
        work.cancel()
        await asyncio.wait([work])
        await told  # the loop stays for `_stop`

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await follow(self._settings, self._metrics)
            except* TocsinError as errors:
                log.warning("live precision and recall stand still: %s", errors.exceptions[0])
            await asyncio.sleep(RETRY_S)


async def follow(settings: Settings, metrics: Metrics) -> None:
    """Keep the figures of `metrics` at what both topics say, until cancelled.

    1. Read the alerts that there are: most verdicts then find theirs. 2. Follow both topics from
    their beginnings; what is read twice changes nothing.

    Raises:
        BrokerError: no broker answers, or a topic does not exist; alone or in a group.
    """
    days = settings.labels.figures_days
    tally, rules = VerdictTally(days), RuleTally(days)
    alerts, labels = settings.topics.alerts, settings.topics.labels
    # Step 1.
    async for records in read_topic(settings.kafka, alerts, from_beginning=True, follow=False):
        _take_alerts(tally, records)
    # Step 2. One thread and no await within a step: nothing is counted half.
    changed = asyncio.Event()
    changed.set()

    async def take(topic: str, apply: Callable[[list[Any]], None]) -> None:
        async for records in read_topic(settings.kafka, topic, from_beginning=True, follow=True):
            apply(records)
            changed.set()

    async def show() -> None:
        while True:
            await changed.wait()
            changed.clear()
            publish(tally.figures(), metrics)
            metrics.objects_judged(rules.figures())
            await asyncio.sleep(REFRESH_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(take(alerts, lambda records: _take_alerts(tally, records)))
        group.create_task(take(labels, lambda records: _take_labels(tally, rules, records)))
        group.create_task(show())


def publish(figures: Figures, metrics: Metrics) -> None:
    """Set the gauges."""
    metrics.precision.set(figures.precision)
    metrics.recall.set(figures.recall)
    metrics.judged.set(figures.judged)
    metrics.frauds.set(figures.frauds)


def _take_alerts(tally: VerdictTally, records: list[Any]) -> None:
    for record in records:
        with suppress(*DECODE_ERRORS):
            alert = decode_alert(record.value or b"")
            if alert.kind == "fraud" and (tx_id := alert.detail.get("tx_id")) is not None:
                tally.alert(str(tx_id), alert.event_time)


def _take_labels(tally: VerdictTally, rules: RuleTally, records: list[Any]) -> None:
    for record in records:
        with suppress(*DECODE_ERRORS):
            label = decode_label(record.value or b"")
            if isinstance(label, ObjectLabel):
                rules.verdict(label)
            elif label.labelled_at >= label.event_time:
                tally.verdict(label)

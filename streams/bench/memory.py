"""Memory of a worker at full speed for minutes, with more cards than it holds rows.

The same payments go out round after round, each card once a round, never far ahead of the worker,
and the broker deletes what has been read: neither disk nor memory of the bench grows.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from aiokafka.partitioner import murmur2
from numpy.typing import NDArray

from models.fraud.features import new_card_state
from models.fraud.network import load_fraud
from streams.app.agent import open_store
from streams.app.fraud import FLOAT_BYTES
from streams.bench.subject import Worker
from streams.bench.systems import check_committed, forget, fraud_worker, fresh
from streams.bench.workload import (
    CURRENCY,
    PARTITIONS,
    create_topic,
    on_new_cards,
    transactions,
)
from streams.producers.kafka import KeyedProducer
from streams.producers.records import transaction_records
from streams.producers.sink import Record
from streams.scrape import Samples
from streams.settings import Settings
from streams.state.redis_client import open_client
from streams.state.store import digests
from streams.state.table import parse_rows, row_dtype

PIECE: Final = 20_000
AHEAD: Final = 300_000
"""Records sent and not yet acknowledged by the worker: seconds of work, 50 MB of log."""

RETENTION: Final = {"retention.bytes": str(128 * 2**20), "segment.bytes": str(32 * 2**20)}
"""A partition's share of what is ahead fits in it ten times."""

SAMPLE_S: Final = 0.5
SAY_S: Final = 15.0
WARM_SHARE: Final = 0.4
"""Of the time, at the beginning: the table fills, allocators settle."""

FLAT_MIB_PER_MIN: Final = 1.0
CHECKED_CARDS: Final = 5000

ACKNOWLEDGED: Final = "tocsin_acknowledged_total"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Course:
    """Resident memory over time. `slope_mib_per_min` is a line through all after the warm-up."""

    start: float
    end: float
    peak: float
    slope_mib_per_min: float

    @classmethod
    def of(cls, samples: list[tuple[float, float]]) -> Course:
        """Sum up samples of time (s) and MiB, at least two of them."""
        seconds, mib = np.array(samples).T
        settled = seconds >= seconds[0] + WARM_SHARE * (seconds[-1] - seconds[0])
        slope = np.polyfit(seconds[settled] / 60, mib[settled], 1)[0] if settled.sum() > 1 else 0.0
        return cls(float(mib[0]), float(mib[-1]), float(mib.max()), float(slope))


def watch(
    settings: Settings, data: Path | None, minutes: float, cards: int, say: Say
) -> dict[str, Any]:
    """Run a worker for `minutes` over `cards` cards and return the report.

    1. Feed the worker and note its memory. 2. Let it finish and commit. 3. Read cards back.

    Raises:
        ServerFailed: the worker ended.
        TocsinError: it did not commit what it had taken.
    """
    payload = list(
        transaction_records(on_new_cards(transactions(data, 100_000), cards, cards), CURRENCY)
    )
    topic, group = fresh("memory"), fresh("memory-tocsin")
    create_topic(settings.kafka, topic, RETENTION)
    create_topic(settings.kafka, f"{group}-alerts")
    with fraud_worker(settings, topic, f"{group}-alerts", group) as worker:
        worker.watch()
        worker.wait_for("tocsin_ready", 1, 60.0)
        feed = _Feed(settings, topic, worker, say)
        sent = asyncio.run(feed.run(payload, minutes * 60))  # Step 1.
        last = worker.wait_for(ACKNOWLEDGED, sent, 120.0)  # Step 2.
        check_committed(settings.kafka, group, topic)
        course = Course.of(feed.rss)
    checked, wrong = _read_back(settings, group, payload, sent)  # Step 3.
    redis_mib = _redis_mib(settings)
    forget(settings, group)
    return {
        "rss_mib": asdict(course),
        "flat": course.slope_mib_per_min <= FLAT_MIB_PER_MIN,
        "minutes": minutes,
        "events": sent,
        "events_per_s": sent / _span(last),
        "cards": cards,
        "rows": round(last.get("tocsin_rows")),
        "capacity": settings.fraud.capacity,
        "evicted": round(last.get("tocsin_rows_evicted")),
        "redis_mib": redis_mib,
        "checked_cards": checked,
        "wrong_cards": wrong,
    }


class _Feed:
    """Keeps a worker busy, and watches it."""

    def __init__(self, settings: Settings, topic: str, worker: Worker, say: Say) -> None:
        self._settings, self._topic, self._worker, self._say = settings, topic, worker, say
        self._seen = worker.metrics()
        self._looked = asyncio.Event()
        self.rss: list[tuple[float, float]] = []

    async def run(self, payload: list[Record], seconds: float) -> int:
        """Send `payload` over and over for `seconds`; return how many records went out."""
        sent, begun = 0, time.monotonic()
        watching = asyncio.ensure_future(self._watch(begun))
        try:
            async with KeyedProducer(self._settings.kafka) as producer:
                for piece in _rounds(payload):
                    while sent - self._seen.get(ACKNOWLEDGED) > AHEAD and not watching.done():
                        self._looked.clear()
                        await self._looked.wait()
                    if watching.done() or time.monotonic() - begun > seconds:
                        break
                    sent += await producer.send_many(self._topic, piece)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        return sent

    async def _watch(self, begun: float) -> None:
        said = 0.0
        try:
            while True:
                self._seen = await asyncio.to_thread(self._worker.metrics)
                now = time.monotonic() - begun
                self.rss.append((now, self._worker.rss_mib()))
                if now - said >= SAY_S:
                    said = now
                    self._say(self._line(now))
                self._looked.set()
                await asyncio.sleep(SAMPLE_S)
        finally:
            self._looked.set()  # whoever waits sees that this has ended

    def _line(self, now: float) -> str:
        done, rows, evicted = map(
            self._seen.get, (ACKNOWLEDGED, "tocsin_rows", "tocsin_rows_evicted")
        )
        return (
            f"{now:5.0f} s  {self.rss[-1][1]:6.0f} MiB  {done:12,.0f} events  "
            f"{rows:9,.0f} rows  {evicted:11,.0f} evicted"
        )


def _rounds(payload: list[Record]) -> Iterator[list[Record]]:
    while True:
        for start in range(0, len(payload), PIECE):
            yield payload[start : start + PIECE]


def _read_back(settings: Settings, group: str, payload: list[Record], sent: int) -> tuple[int, int]:
    """Return how many cards were read from the store, and how many have another count than sent."""
    cards = len(payload)
    chosen = np.random.default_rng(0).choice(cards, min(CHECKED_CARDS, cards), replace=False)
    expected = sent // cards + (chosen < sent % cards)
    chosen, expected = chosen[expected > 0], expected[expected > 0]
    found = _stored_counts(settings, group, [payload[card][0] for card in chosen.tolist()])
    return len(chosen), int((found != expected).sum())


def _stored_counts(settings: Settings, group: str, keys: list[bytes]) -> NDArray[np.int64]:
    """Return the events that the stored row of each card has counted; 0 where there is no row."""
    network, _ = load_fraud(settings.fraud.model)
    homes = np.array([(murmur2(key) & 0x7FFFFFFF) % PARTITIONS for key in keys], np.int32)
    store = open_store(settings, group, shared=False)
    try:
        stored = store.load(homes, digests([key.decode() for key in keys]))
    finally:
        store.close()
    counts = np.zeros(len(keys), np.int64)
    there = np.array([row is not None for row in stored], bool)
    rows = [row for row in stored if row is not None]
    if rows:
        record = row_dtype(new_card_state(1).dtype)
        records, _ = parse_rows(rows, record, network.config.hidden * FLOAT_BYTES)
        counts[there] = records["state"]["count"]
    return counts


def _redis_mib(settings: Settings) -> float:
    client = open_client(settings.redis)
    try:
        return float(client.info("memory")["used_memory"]) / 2**20
    finally:
        client.close()


def _span(samples: Samples) -> float:
    return samples.get("tocsin_last_progress_timestamp_seconds") - samples.get(
        "tocsin_first_event_timestamp_seconds"
    )

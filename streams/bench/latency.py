"""Latency at a paced load, from an event's send time to the broker's acknowledgement of its alert.

Beside it, at the same load, a producer and a consumer of the same client library with nothing in
between: what Kafka and Python's event loop take by themselves.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from models.fraud.transactions import Transactions
from streams.bench.assignment import Assignment
from streams.bench.job import Job
from streams.bench.subject import Program
from streams.bench.systems import check_committed, forget, fraud_worker, fresh
from streams.bench.workload import CURRENCY, create_topic, transactions
from streams.producers.kafka import KeyedProducer
from streams.producers.pace import AtRate
from streams.producers.records import transaction_records
from streams.schemas import decode_score
from streams.scrape import histogram_quantile
from streams.settings import KafkaSettings, Settings

RATE: Final = 5000
"""Transactions a second: a large card issuer's peak."""

WARM_S: Final = 3.0
"""The first seconds load rows and fill caches; they are not measured."""

TICK_S: Final = 0.002

ALERT_SHARE: Final = 0.01
"""Of the transactions, raised by a threshold of its own: at the network's the 99th percentile of a
run would be its slowest alert."""

LATENCY: Final = "tocsin_alert_latency_seconds"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Paced:
    """One paced run. `worker_cores` is CPU time by wall-clock time."""

    p50_ms: float
    p99_ms: float
    worker_cores: float
    alerts: int

    @property
    def latency_ms(self) -> dict[str, float]:
        """Return the two percentiles by name."""
        return {"p50": self.p50_ms, "p99": self.p99_ms}


def compare(
    settings: Settings, data: Path | None, seconds: float, runs: int, say: Say
) -> dict[str, Any]:
    """Pace `runs` runs of `seconds` each, bare and through a worker in turn; report medians."""
    rows = transactions(data, round((WARM_S + seconds) * RATE))
    ours, bare = [], []
    for _ in range(runs):
        bare.append(bare_p99_ms(settings.kafka, rows))
        ours.append(paced(settings, rows, seconds))
        say(
            f"p50 {ours[-1].p50_ms:.1f} ms, p99 {ours[-1].p99_ms:.1f} ms "
            f"({ours[-1].alerts} alerts), bare p99 {bare[-1]:.1f} ms, "
            f"{ours[-1].worker_cores:.2f} cores"
        )
    return {
        "rate_per_s": RATE,
        "seconds": seconds,
        "runs": [
            {
                "p50_ms": run.p50_ms,
                "p99_ms": run.p99_ms,
                "bare_p99_ms": floor,
                "worker_cores": run.worker_cores,
                "alerts": run.alerts,
            }
            for run, floor in zip(ours, bare, strict=True)
        ],
        "p50_ms": median(run.p50_ms for run in ours),
        "p99_ms": median(run.p99_ms for run in ours),
        "bare_p99_ms": median(bare),
        "worker_cores": median(run.worker_cores for run in ours),
    }


def paced(settings: Settings, rows: Transactions, seconds: float) -> Paced:
    """Send `RATE` transactions a second past a worker; measure after the first seconds.

    Raises:
        ServerFailed: the worker ended.
        TocsinError: it did not keep up.
    """
    topic, group = fresh("paced"), fresh("paced-tocsin")
    fraud = settings.fraud.model_copy(update={"threshold": threshold_for(settings, rows)})
    settings = settings.model_copy(update={"fraud": fraud})
    for name in (topic, f"{group}-alerts"):
        create_topic(settings.kafka, name)
    with fraud_worker(settings, topic, f"{group}-alerts", group) as worker:
        worker.watch()
        worker.wait_for("tocsin_ready", 1, 60.0)
        warm = round(WARM_S * RATE)
        asyncio.run(send_paced(settings.kafka, topic, rows.take(slice(warm))))
        before, started = worker.metrics(), time.time()
        measured = rows.take(slice(warm, warm + round(seconds * RATE)))
        asyncio.run(send_paced(settings.kafka, topic, measured))
        ended = time.time()
        cores = worker.cpu_between(started, ended) / (ended - started)
        check_committed(settings.kafka, group, topic)
        after = worker.metrics().since(before)
    forget(settings, group)
    p50, p99 = (1000 * histogram_quantile(after, LATENCY, q) for q in (0.5, 0.99))
    return Paced(p50, p99, cores, round(after.get("tocsin_alerts_total")))


def threshold_for(settings: Settings, rows: Transactions) -> float:
    """Return the score that `ALERT_SHARE` of the transactions reach once the cards are known."""
    job = Job(settings.fraud.model, 0.0)
    values = [value for _, value in transaction_records(rows, CURRENCY)]
    half = len(values) // 2
    job.run(values[:half])
    scores = [decode_score(value).score for _, value in job.run(values[half:])]
    return float(np.quantile(scores, 1.0 - ALERT_SHARE))


def bare_p99_ms(kafka: KafkaSettings, rows: Transactions) -> float:
    """Send `rows` at `RATE` to a consumer that only notes when each record arrived."""
    topic = fresh("bare")
    create_topic(kafka, topic)
    assignment = Assignment(
        bootstrap=kafka.bootstrap_servers,
        topic=topic,
        alerts_topic="",
        group="",
        events=len(rows),
        report="",
    )
    with Program("bare", assignment) as program:
        program.wait_ready()
        asyncio.run(send_paced(kafka, topic, rows))
        latencies = np.array(program.result(30.0).latencies_ms)
    return float(np.percentile(latencies[round(WARM_S * RATE) :], 99))


async def send_paced(kafka: KafkaSettings, topic: str, rows: Transactions) -> None:
    """Send `rows` evenly, `RATE` a second; all of it is durable on return."""
    records = list(transaction_records(rows, CURRENCY))
    pace, sent = AtRate(RATE), 0
    async with KeyedProducer(kafka) as producer:
        started = time.monotonic()
        while sent < len(records):
            due = pace.allowed(rows.event_time[sent:], sent, time.monotonic() - started)
            if due:
                await producer.send_many(topic, records[sent : sent + due])
                sent += due
            await asyncio.sleep(TICK_S)

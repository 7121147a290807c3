"""What TLS, passwords and ACLs cost a fraud worker's throughput, beside the same in the clear.

Run by hand, on a machine that does nothing else: `make bench-secure`. The runs alternate, so that
what else the machine does meets both; medians are compared.
"""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path
from typing import Any

import pytest

from streams.bench.workload import transactions
from streams.devstack import KafkaBroker, RedisServer
from streams.producers.kafka import KeyedProducer
from streams.producers.records import transaction_records
from streams.settings import Settings, load_settings
from tests.conftest import DURABLE, KAFKA_JARS, KAFKA_PROPERTIES, started
from tests.secure import secured
from tests.worker import Bed

pytestmark = [pytest.mark.bench, pytest.mark.integration]

EVENTS = 500_000
RUNS = 5
MAX_COST = 0.2


def send(settings: Settings, records: list[Any]) -> None:
    async def run() -> None:
        async with KeyedProducer(settings.kafka) as producer:
            await producer.send_many(settings.topics.transactions, records)

    asyncio.run(run())


def rate(settings: Settings, folder: Path) -> float:
    """Events/s of a worker that finds `EVENTS` more on its topic, from the first to the last."""
    folder.mkdir()
    with Bed(settings, folder).worker("fraud") as worker:
        worker.until(lambda: worker.metric("tocsin_acknowledged_total") >= EVENTS, "the end")
        first = worker.metric("tocsin_first_event_timestamp_seconds")
        last = worker.metric("tocsin_last_progress_timestamp_seconds")
        assert worker.stop() == 0
    return EVENTS / (last - first)


def test_security_costs_less_than_a_fifth_of_the_throughput(
    certificates: Path, tmp_path: Path
) -> None:
    records = list(transaction_records(transactions(None, EVENTS), "EUR"))
    quiet: dict[str, Any] = {"fraud": {"threshold": 1.0, "device": "cpu"}}
    rates: dict[str, list[float]] = {"plain": [], "secure": []}
    with (
        started(KafkaBroker(KAFKA_JARS, KAFKA_PROPERTIES), real=True) as kafka,
        started(RedisServer(args=DURABLE), real=True) as redis,
        secured(certificates) as secure,
    ):
        plain = load_settings(
            kafka={"bootstrap_servers": kafka.bootstrap},
            redis={"url": redis.url},
            health={"port": 0},
            **quiet,
        )
        places = {
            "plain": (plain, plain, plain),
            "secure": tuple(
                secure.settings(role, **quiet) for role in ("operator", "payments", "fraud")
            ),
        }
        for operator, _, _ in places.values():
            Bed(operator, tmp_path).create_topics()
        for run in range(RUNS):
            for name, (_, payments, fraud) in places.items():
                send(payments, records)
                rates[name].append(rate(fraud, tmp_path / f"{name}-{run}"))
                print(f"{name}: {rates[name][-1]:,.0f} events/s")

    medians = {name: statistics.median(found) for name, found in rates.items()}
    share = medians["secure"] / medians["plain"]
    print(f"medians: {medians['plain']:,.0f} and {medians['secure']:,.0f} events/s: {share:.2f}")
    assert share >= 1 - MAX_COST

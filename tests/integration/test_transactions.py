"""Payments that are written in Kafka's transactions: what was aborted never happened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from streams.connection import start_producer
from tests.conftest import Stack
from tests.fakes.model import random_model
from tests.fakes.records import payment
from tests.nursery import nursery
from tests.worker import TOCSIN, Bed, WorkerProcess, bed_on, environment_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STUCK_AFTER_S = 3.0


@pytest.fixture
def bed(real_stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    model = random_model(tmp_path)
    plain = bed_on(real_stack.bootstrap, real_stack.redis_url, namespace, tmp_path, model=model)
    changes = {
        "kafka": {"isolation_level": "read_committed"},
        "fraud": {"publish_scores": True},
        "delivery": {"stuck_after_s": STUCK_AFTER_S},
    }
    sections = {
        name: type(section).model_validate({**section.model_dump(exclude_unset=True), **change})
        for name, change in changes.items()
        for section in [getattr(plain.settings, name)]
    }
    bed = Bed(plain.settings.model_copy(update=sections), tmp_path)
    bed.create_topics()
    yield bed
    bed.close()


@asynccontextmanager
async def upstream(bed: Bed) -> AsyncIterator[AIOKafkaProducer]:
    """A job that writes what it has done and how far it has come at once, or not at all."""
    producer = await start_producer(bed.settings.kafka, transactional_id=bed.settings.fraud.group)
    try:
        yield producer
    finally:
        await producer.stop()


async def write(bed: Bed, producer: AIOKafkaProducer, names: Sequence[str]) -> None:
    await producer.begin_transaction()
    for name in names:
        value = payment(tx_id=name, card_id="c1")
        await producer.send(bed.settings.topics.transactions, value, b"c1")
    await producer.flush()


def test_payments_of_an_aborted_transaction_are_neither_scored_nor_remembered(bed: Bed) -> None:
    names = [f"t{number:03}" for number in range(100)]

    async def crash_and_come_again() -> None:
        async with upstream(bed) as producer:
            await write(bed, producer, names)
            await producer.abort_transaction()
            await write(bed, producer, names)
            await producer.commit_transaction()

    asyncio.run(crash_and_come_again())
    with bed.worker() as worker:
        worker.until(lambda: worker.metric("tocsin_acknowledged_total") == 100, "100 stored")
        time.sleep(1)
        assert worker.metric("tocsin_acknowledged_total") == 100
        assert worker.metric("tocsin_lag_records") == 0
        assert worker.stop() == 0
    assert len(bed.read(bed.settings.topics.scores)) == 100
    assert bed.lag(bed.settings.fraud.group, bed.settings.topics.transactions) == 0
    checked = nursery().run((*TOCSIN, "state", "check"), environment_of(bed.settings), bed.folder)
    assert checked.returncode == 0, checked.stdout


def test_a_transaction_that_stays_open_is_no_lag_and_no_standstill(bed: Bed) -> None:
    async def dawdle(worker: WorkerProcess) -> None:
        async with upstream(bed) as producer:
            await write(bed, producer, ["late"])
            await asyncio.sleep(3 * STUCK_AFTER_S)
            assert worker.status is None, worker.log
            assert worker.metric("tocsin_lag_records") == 0
            assert worker.metric("tocsin_acknowledged_total") == 0
            await producer.commit_transaction()

    with bed.worker() as worker:
        worker.until_ready()
        asyncio.run(dawdle(worker))
        worker.until(lambda: worker.metric("tocsin_acknowledged_total") == 1, "it is stored")
        assert worker.stop() == 0

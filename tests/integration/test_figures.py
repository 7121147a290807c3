"""Live precision and recall beside a broker."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable

import pytest

from streams.admin import connect
from streams.devstack import EmbeddedBroker
from streams.figures import LiveFigures
from streams.metrics import Metrics
from streams.producers.kafka import KeyedProducer
from streams.producers.verdicts import Statement, checked, label_of
from streams.schemas import Alert, ObjectLabel, encode
from streams.settings import Settings, load_settings
from streams.topics import topic_table
from tests.unit.test_producers_verdicts import T0, fraud_alert

PATIENCE_S = 30.0


@pytest.fixture
def settings(embedded_broker: EmbeddedBroker) -> Settings:
    prefix = f"f{uuid.uuid4().hex[:8]}"
    names = ("transactions", "labels", "alerts", "scores")
    return load_settings(
        kafka={"bootstrap_servers": embedded_broker.bootstrap},
        topics={name: f"{prefix}.{name}" for name in names},
    )


def create_topics(settings: Settings) -> None:
    with connect(settings.kafka) as admin:
        admin.ensure(topic_table(settings))


def send(settings: Settings, alert: Alert, *, fraud: bool) -> None:
    async def run() -> None:
        async with KeyedProducer(settings.kafka) as producer:
            await producer.send_many(settings.topics.alerts, [(b"c", encode(alert)), (b"c", b"?")])
            records = checked([label_of(alert, fraud, Statement(T0 + 1000))], 180)
            await producer.send_many(settings.topics.labels, records)

    asyncio.run(run())


def value(metrics: Metrics, name: str) -> float:
    found = metrics.registry.get_sample_value(f"tocsin_live_{name}", {"agent": "labels"})
    assert found is not None
    return found


def until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline, "the figures do not move"
        time.sleep(0.1)


def test_the_figures_follow_what_was_there_and_what_comes(settings: Settings) -> None:
    create_topics(settings)
    send(settings, fraud_alert(), fraud=True)
    metrics = Metrics("labels")
    with LiveFigures(settings, metrics):
        until(lambda: value(metrics, "precision") == 1.0)
        assert value(metrics, "judged_alerts") == 1
        send(settings, fraud_alert(), fraud=False)  # the same transaction: a change of mind
        until(lambda: value(metrics, "precision") == 0.0)
        assert value(metrics, "known_frauds") == 0


def test_verdicts_on_object_alerts_are_counted_by_rule(settings: Settings) -> None:
    create_topics(settings)
    verdicts = [
        ObjectLabel(
            f"frames:0:{number}:7:gate", "yard", "person", T0 + number, number > 0, "analyst"
        )
        for number in range(4)
    ]

    async def send_verdicts() -> None:
        async with KeyedProducer(settings.kafka) as producer:
            records = [(b"yard", encode(one)) for one in verdicts]
            await producer.send_many(settings.topics.labels, records)

    asyncio.run(send_verdicts())
    metrics = Metrics("labels")
    of_gate = {"agent": "labels", "rule": "gate"}
    with LiveFigures(settings, metrics):
        sample = metrics.registry.get_sample_value
        until(lambda: sample("tocsin_live_object_precision", of_gate) == 0.75)
        assert sample("tocsin_live_judged_object_alerts", of_gate) == 4


def test_without_topics_the_figures_wait_and_say_so(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.figures.RETRY_S", 0.2)
    metrics = Metrics("labels")
    with caplog.at_level(logging.WARNING), LiveFigures(settings, metrics):
        until(lambda: "stand still" in caplog.text)
        create_topics(settings)
        send(settings, fraud_alert(), fraud=True)
        until(lambda: value(metrics, "recall") == 1.0)


def test_figures_can_be_done_without(settings: Settings) -> None:
    off = settings.model_copy(
        update={"labels": settings.labels.model_copy(update={"figures_days": 0.0})}
    )
    with LiveFigures(off, Metrics("labels")):
        pass

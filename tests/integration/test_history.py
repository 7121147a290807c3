"""A simulated history through a broker and back into columns."""

from __future__ import annotations

import asyncio
import uuid

import numpy as np
import pytest

from models.fraud.simulator import SimulatorConfig, simulate
from streams.admin import connect
from streams.devstack import EmbeddedBroker
from streams.history import read_history
from streams.producers.kafka import KeyedProducer
from streams.producers.records import Labelling, label_records, transaction_records
from streams.settings import Settings
from streams.topics import topic_table

DAY_MS = 86_400_000


@pytest.fixture
def settings(embedded_broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    prefix = f"h{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", embedded_broker.bootstrap)
    for name in ("transactions", "labels", "alerts", "scores"):
        monkeypatch.setenv(f"TOCSIN_TOPICS__{name.upper()}", f"{prefix}.{name}")
    settings = Settings()
    with connect(settings.kafka) as admin:
        admin.ensure(topic_table(settings))
    return settings


def test_what_was_sent_comes_back_as_columns(settings: Settings) -> None:
    sent = simulate(SimulatorConfig(customers=60, terminals=20, radius=40.0), days=6)
    labelled = sent.take(slice(0, len(sent) // 2))
    steps: list[tuple[int, int]] = []

    async def round_trip() -> object:
        async with KeyedProducer(settings.kafka) as producer:
            topics = settings.topics
            await producer.send_many(topics.transactions, transaction_records(sent, "EUR"))
            labels = label_records(labelled, Labelling(3 * DAY_MS, "simulator"))
            await producer.send_many(topics.labels, labels)
        return await read_history(settings, on_progress=lambda *done: steps.append(done))

    history = asyncio.run(round_trip())
    rows = history.transactions  # type: ignore[attr-defined]

    # Equal times may come in another order: partitions are read as they come.
    ours = sorted(zip(sent.event_time, sent.card_id.astype(str), sent.amount, strict=True))
    theirs = sorted(zip(rows.event_time, rows.card_id, rows.amount, strict=True))
    assert [(int(t), str(c), float(a)) for t, c, a in theirs] == [
        (int(t), str(c), float(a)) for t, c, a in ours
    ]
    known = history.known  # type: ignore[attr-defined]
    assert known.sum() == len(labelled)
    assert rows.is_fraud[known].sum() == labelled.is_fraud.sum() > 0
    at = history.labelled_at[known]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(at, rows.event_time[known] + 3 * DAY_MS)
    assert steps[-1] == (len(sent), len(labelled))

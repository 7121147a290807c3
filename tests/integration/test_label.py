"""`tocsin label` against a broker: looked up, sent, and refused as a whole."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from streams.admin import connect
from streams.cli.main import app
from streams.devstack import EmbeddedBroker, KafkaBroker
from streams.producers.kafka import KeyedProducer
from streams.reading import read_topic
from streams.schemas import ObjectLabel, TransactionLabel, decode_label, encode
from streams.settings import Settings
from streams.topics import topic_table
from tests.unit.test_producers_verdicts import T0, fraud_alert, object_alert

AT = ["--at", "2023-11-20"]


@pytest.fixture
def settings(broker: EmbeddedBroker | KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    prefix = f"l{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap)
    for name in ("transactions", "labels", "alerts", "scores"):
        monkeypatch.setenv(f"TOCSIN_TOPICS__{name.upper()}", f"{prefix}.{name}")
    settings = Settings()
    with connect(settings.kafka) as admin:
        admin.ensure(topic_table(settings))
    alerts = [fraud_alert(7), fraud_alert(8), object_alert()]
    alerts.append(msgspec.structs.replace(object_alert(), revision=1, event_id="a:1:1"))

    async def send() -> None:
        async with KeyedProducer(settings.kafka) as producer:
            records = [(alert.entity.encode(), encode(alert)) for alert in alerts]
            await producer.send_many(settings.topics.alerts, [*records, (b"x", b"no alert")])

    asyncio.run(send())
    return settings


def tocsin_label(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["label", *arguments], env={"COLUMNS": "200"})


def labels(settings: Settings) -> list[Any]:
    async def read() -> list[Any]:
        batches = read_topic(
            settings.kafka, settings.topics.labels, from_beginning=True, follow=False
        )
        return [decode_label(record.value) async for records in batches for record in records]

    return asyncio.run(read())


def test_verdicts_go_out_by_id_and_by_event_id(settings: Settings) -> None:
    ids = ["transactions:0:7:fraud", "transactions:0:8:fraud:0", "a:1"]
    done = tocsin_label(*ids, "--fraud", "--by", "ann", *AT)

    assert done.exit_code == 0, done.output
    assert "sent 3 verdicts" in done.stdout
    sent = labels(settings)
    assert sum(isinstance(label, TransactionLabel) for label in sent) == 2
    (thing,) = (label for label in sent if isinstance(label, ObjectLabel))
    assert (thing.alert_id, thing.is_true, thing.by) == ("a:1", True, "ann")


def test_one_id_that_is_not_there_and_nothing_is_sent(settings: Settings) -> None:
    done = tocsin_label("transactions:0:7:fraud", "nobody", "--genuine", *AT)

    assert done.exit_code == 1
    assert "no alert 'nobody'" in done.stderr
    assert "nothing was sent" in done.stderr
    assert labels(settings) == []


def test_a_file_and_a_dry_run(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_text("transactions:0:7:fraud,withdraw\ntransactions:0:8:fraud,genuine\n")
    done = tocsin_label("--file", str(path), "--dry-run", *AT)

    assert done.exit_code == 0, done.output
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [label["is_fraud"] for label in printed] == [None, False]
    assert labels(settings) == []


def test_a_transaction_without_an_alert(settings: Settings) -> None:
    named = ["--tx-id", "9", "--card", "c", "--terminal", "m", "--amount", "3.5"]
    done = tocsin_label(*named, "--event-time", str(T0), "--fraud", "--note", "chargeback", *AT)

    assert done.exit_code == 0, done.output
    (label,) = labels(settings)
    assert (label.tx_id, label.event_time, label.is_fraud) == ("9", T0, True)
    assert label.note == "chargeback"

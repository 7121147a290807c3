"""From columns to records in Kafka and back: the producer, the commands, the evaluation."""

from __future__ import annotations

import asyncio
import csv
import json
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kafka
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from models.fraud.simulator import simulate
from models.fraud.transactions import Transactions
from streams.admin import connect
from streams.alerts.envelope import build_fraud_alert
from streams.cli.main import app
from streams.connection import client_options
from streams.devstack import EmbeddedBroker, KafkaBroker
from streams.errors import BrokerError
from streams.producers.files import HANDBOOK
from streams.producers.kafka import KeyedProducer
from streams.producers.transactions import world
from streams.reading import read_topic
from streams.schemas import (
    ModelRef,
    Score,
    Source,
    Transaction,
    decode_label,
    decode_transaction,
    encode,
)
from streams.settings import KafkaSettings, Settings
from streams.topics import topic_table

Broker = EmbeddedBroker | KafkaBroker


@pytest.fixture
def settings(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with topics of their own, which exist; the commands find them in the environment."""
    prefix = f"p{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap)
    for name in ("transactions", "labels", "alerts", "scores"):
        monkeypatch.setenv(f"TOCSIN_TOPICS__{name.upper()}", f"{prefix}.{name}")
    settings = Settings()
    with connect(settings.kafka) as admin:
        admin.ensure(topic_table(settings))
    return settings


def tocsin(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result


def contents(settings: Settings, topic: str) -> list[Any]:
    """All records of `topic`."""

    async def read() -> list[Any]:
        batches = read_topic(settings.kafka, topic, from_beginning=True, follow=False)
        return [record async for records in batches for record in records]

    return asyncio.run(read())


def send(settings: Settings, topic: str, records: list[tuple[bytes, bytes]]) -> None:
    async def run() -> None:
        async with KeyedProducer(settings.kafka) as producer:
            await producer.send_many(topic, records)

    asyncio.run(run())


def write_csv(path: Path, transactions: Transactions) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HANDBOOK.values())
        for row in zip(*(getattr(transactions, field).tolist() for field in HANDBOOK), strict=True):
            fields = dict(zip(HANDBOOK, row, strict=True))
            when = datetime.fromtimestamp(fields["event_time"] / 1000, UTC)
            writer.writerow(
                {**fields, "event_time": when, "is_fraud": int(fields["is_fraud"])}.values()
            )
    return path


def test_an_empty_topic_reads_as_nothing(settings: Settings) -> None:
    assert contents(settings, settings.topics.scores) == []


def test_sending_nothing_is_fine(settings: Settings) -> None:
    send(settings, settings.topics.labels, [])

    assert contents(settings, settings.topics.labels) == []


def test_records_keep_their_order_by_key_and_land_where_other_clients_put_them(
    settings: Settings,
) -> None:
    topic = settings.topics.transactions
    sent = [(f"k{i % 50}".encode(), str(i).encode()) for i in range(20_000)]
    before = int(time.time() * 1000)

    send(settings, topic, sent)
    found = contents(settings, topic)
    other = kafka.KafkaProducer(**client_options(settings.kafka))
    placed = {
        key: other.send(topic, b"x", key=key).get(10).partition for key in {key for key, _ in sent}
    }
    other.close()

    for key, partition in placed.items():
        mine = [record for record in found if record.key == key]
        assert [record.value for record in mine] == [v for k, v in sent if k == key]
        assert {record.partition for record in mine} == {partition}
    assert all(before - 1000 <= record.timestamp <= time.time() * 1000 for record in found)


def test_a_missing_topic_is_an_error_before_anything_is_sent(settings: Settings) -> None:
    with pytest.raises(BrokerError, match="tocsin topics create"):
        send(settings, "nowhere", [(b"k", b"v")])


def test_a_record_that_the_broker_refuses_is_an_error(
    kafka_broker: KafkaBroker, topic_name: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap)
    with connect(settings) as admin:
        admin._client.create_topics(
            {
                topic_name: {
                    "num_partitions": 1,
                    "replication_factor": 1,
                    "configs": {"max.message.bytes": "1000"},
                }
            },
            wait_for_metadata=True,
        )

    async def run() -> None:
        async with KeyedProducer(settings) as producer:
            await producer.send_many(topic_name, [(b"k", b"v" * 5000)])

    with pytest.raises(BrokerError, match=r"(?i)large"):
        asyncio.run(run())


def test_the_simulator_sends_transactions_and_their_verdicts(settings: Settings) -> None:
    small = ["--customers", "100", "--terminals", "500", "--seed", "3"]

    result = tocsin(
        "produce", "transactions", *small, "--count", "600", "--rate", "5000", "--label-delay", "1"
    )

    transactions = contents(settings, settings.topics.transactions)
    labels = contents(settings, settings.topics.labels)
    assert f"sent 600 transactions and {len(labels)} labels" in result.stdout
    payments = {p.tx_id: p for p in (decode_transaction(r.value) for r in transactions)}
    assert len(payments) == 600
    assert all(r.key.decode() == decode_transaction(r.value).card_id for r in transactions)
    assert labels
    for record in labels:
        label = decode_label(record.value)
        assert record.key.decode() == label.terminal_id  # type: ignore[union-attr]
        assert payments[label.tx_id].event_time == label.event_time  # type: ignore[union-attr]
        assert label.labelled_at == label.event_time + 86_400_000  # type: ignore[union-attr]


def test_a_file_is_replayed_with_its_labels(settings: Settings, tmp_path: Path) -> None:
    history = simulate(world(customers=50, terminals=500, start="2018-04-01", seed=2), 5)
    file = write_csv(tmp_path / "history.csv", history)

    tocsin("replay", str(file), "--labels-delay", "2d", "--from", "2018-04-02")

    expected = history.take(
        history.event_time >= history.event_time[0] // 86_400_000 * 86_400_000 + 86_400_000
    )
    found = [decode_transaction(r.value) for r in contents(settings, settings.topics.transactions)]
    assert {t.tx_id for t in found} == set(map(str, expected.tx_id.tolist()))
    labels = [decode_label(r.value) for r in contents(settings, settings.topics.labels)]
    frauds = {str(t) for t in expected.tx_id[expected.is_fraud].tolist()}
    assert {label.tx_id for label in labels if label.is_fraud} <= frauds  # type: ignore[union-attr]


def test_lockstep_waits_for_both_groups(settings: Settings, tmp_path: Path) -> None:
    history = simulate(world(customers=50, terminals=500, start="2018-04-01", seed=2), 3)
    file = write_csv(tmp_path / "history.csv", history)
    stop = asyncio.Event()

    async def worker(group: str, topic: str) -> int:
        """Commits everything that it reads: a worker that does its work in no time."""
        import aiokafka

        consumer = aiokafka.AIOKafkaConsumer(
            **client_options(settings.kafka), group_id=group, enable_auto_commit=False
        )
        await consumer.start()
        consumer.assign([aiokafka.TopicPartition(topic, p) for p in range(4)])
        await consumer.seek_to_beginning()
        read = 0
        while not stop.is_set():
            fetched = await consumer.getmany(timeout_ms=50)
            if fetched:
                read += sum(map(len, fetched.values()))
                await consumer.commit()
        await consumer.stop()
        return read

    async def run() -> list[int]:
        workers = [
            asyncio.create_task(worker(group, topic))
            for group, topic in (
                (settings.labels.group, settings.topics.labels),
                (settings.fraud.group, settings.topics.transactions),
            )
        ]
        await asyncio.to_thread(
            tocsin, "replay", str(file), "--labels-delay", "1d", "--lockstep", "1d", "--stall", "20"
        )
        stop.set()
        return await asyncio.gather(*workers)

    labels, transactions = asyncio.run(run())

    assert transactions == len(history)
    assert labels == int(
        (history.event_time < history.event_time[-1] // 86_400_000 * 86_400_000).sum()
    )


def test_tail_prints_each_alert_once(settings: Settings) -> None:
    alert = build_fraud_alert(
        Transaction("17", "596", "3156", 57.16, "EUR", 1522540831000),
        source=Source("transactions", 2, 41),
        score=0.9,
        threshold=0.4,
        model=ModelRef("fraud", "1", "abc"),
        processed_at=1522540831123,
    )
    send(settings, settings.topics.alerts, [(b"596", encode(alert))] * 2 + [(b"596", b"junk")])

    lines = tocsin("alerts", "tail", "--no-follow")
    raw = tocsin("alerts", "tail", "--from-beginning", "--json", "--limit", "1")

    assert lines.stdout.count("\n") == 1
    assert "critical fraud new 596 score 0.900" in lines.stdout
    assert "is not an alert" in lines.stderr
    assert json.loads(raw.stdout)["event_id"] == alert.event_id


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Transactions]:
    """Two months of a small world that reach through the test weeks."""
    history = simulate(world(customers=40, terminals=400, start="2018-07-01", seed=5), 66)
    return write_csv(tmp_path_factory.mktemp("judged") / "history.csv", history), history


def test_streamed_scores_are_judged_and_compared_with_offline_ones(
    settings: Settings,
    judged: tuple[Path, Transactions],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from models.checkpoint import Manifest, save
    from models.fraud.dataset import build, offline_scores
    from models.fraud.network import FEATURES, FraudNetwork, FraudNetworkConfig, config_fields

    # 1. A network that knows nothing; what it says is what must come back.
    file, history = judged
    network = FraudNetwork(FraudNetworkConfig())
    manifest = Manifest(
        name="fraud",
        version="1",
        features={group: list(names) for group, names in FEATURES.items()},
        config=config_fields(network.config),
        threshold=0.5,
        training={},
        metrics={},
        created="2026-01-01T00:00:00+00:00",
    )
    save(tmp_path / "fraud", network, manifest)
    monkeypatch.setenv("TOCSIN_FRAUD__MODEL", str(tmp_path / "fraud.json"))
    # 2. Its scores on the topic, as a worker publishes them; one is off.
    data = build(history, network.config.large_amount)
    scores = offline_scores(network, data).astype(np.float64)
    scores[100] = min(1.0, scores[100] + 0.25)
    send(
        settings,
        settings.topics.scores,
        [
            (str(card).encode(), encode(Score(str(tx), str(card), score, when, "fraud", "1")))
            for tx, card, score, when in zip(
                history.tx_id.tolist(),
                history.card_id.tolist(),
                scores.tolist(),
                history.event_time.tolist(),
                strict=True,
            )
        ],
    )
    # 3. The verdict.
    result = tocsin(
        "evaluate", "fraud", "--data", str(file), "--scores-topic", settings.topics.scores,
        "--offline", "--report", str(tmp_path / "report.json"),
    )  # fmt: skip

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["source"] == "streamed"
    assert len(report["folds"]) == 4
    assert report["compared"] == len(history)
    assert report["max_abs_diff"] == pytest.approx(0.25, abs=1e-6)
    assert report["mean"] == pytest.approx(report["offline"]["mean"])
    assert "largest difference 2.50e-01" in result.stdout


def test_scores_that_are_missing_are_counted(
    settings: Settings, judged: tuple[Path, Transactions]
) -> None:
    result = CliRunner().invoke(
        app,
        ["evaluate", "fraud", "--data", str(judged[0]), "--scores-topic", settings.topics.scores],
    )

    assert result.exit_code == 1
    assert "have no score" in result.stderr

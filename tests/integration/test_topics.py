"""Topics, their identity and the lag of a group, on both brokers."""

from __future__ import annotations

import asyncio
import uuid

import aiokafka
import kafka
import pytest
from typer.testing import CliRunner

from streams.admin import connect, describe, log_ends
from streams.cli.main import app
from streams.connection import client_options
from streams.devstack import EmbeddedBroker, KafkaBroker
from streams.errors import BrokerError
from streams.producers.kafka import KeyedProducer
from streams.settings import KafkaSettings, Settings
from streams.topics import NAMED, topic_table

Broker = EmbeddedBroker | KafkaBroker


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:8]}"


@pytest.fixture
def settings(broker: Broker, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with topics of their own, also in the environment, where the commands find them."""
    values = {
        "KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "TOPICS__PARTITIONS": "2",
        **{f"TOPICS__{name.upper()}": f"{prefix}.{name}" for name in NAMED},
    }
    for name, value in values.items():
        monkeypatch.setenv(f"TOCSIN_{name}", value)
    return Settings()


def test_topics_are_created_once_and_listed(settings: Settings) -> None:
    run = CliRunner().invoke

    before = run(app, ["topics", "create", "--check"])
    first = run(app, ["topics", "create"])
    again = run(app, ["topics", "create"])
    after = run(app, ["topics", "create", "--check"])

    assert (before.exit_code, after.exit_code) == (1, 0)
    assert first.stdout.count("created, 2 partitions") == 11
    assert first.stdout.count("created, 1 partitions") == 3  # journals have one order
    assert again.stdout.count("exists, ") == len(topic_table(settings)) == 14
    assert settings.topics.scores in run(app, ["topics", "list"], env={"COLUMNS": "200"}).stdout


def test_status_says_who_reads_what_and_how_far_behind_they_are(settings: Settings) -> None:
    run = CliRunner().invoke
    run(app, ["topics", "create"])

    async def send() -> None:
        async with KeyedProducer(settings.kafka) as producer:
            await producer.send_many(settings.topics.labels, [(b"%d" % n, b"{}") for n in range(7)])

    asyncio.run(send())
    told = run(app, ["status"], env={"COLUMNS": "200"})
    assert told.exit_code == 0, told.output
    behind = {line.split()[1]: line.split()[-1] for line in told.stdout.splitlines() if line}
    assert behind[settings.topics.labels] == "7"
    assert behind[settings.topics.transactions] == "0"
    assert told.stdout.count("no worker answers at http://127.0.0.1:") == 3


def test_drift_is_reported_and_nothing_altered(settings: Settings) -> None:
    with connect(settings.kafka) as admin:
        admin.ensure(topic_table(settings))
        wider = settings.model_copy(
            update={"topics": settings.topics.model_copy(update={"partitions": 5})}
        )
        reports = admin.ensure(topic_table(wider))

        assert {report.drift for report in reports[:11]} == {("partitions 2, not 5",)}
        assert {report.drift for report in reports[11:]} == {()}
        assert admin.describe(settings.topics.labels).partitions == 2


def test_settings_of_a_topic_that_drift_are_named(
    kafka_broker: KafkaBroker, topic_name: str
) -> None:
    settings = Settings.model_validate(
        {"kafka": {"bootstrap_servers": kafka_broker.bootstrap}, "topics": {"alerts": topic_name}}
    )
    specs = [spec for spec in topic_table(settings) if spec.name == topic_name]
    with connect(settings.kafka) as admin:
        admin.ensure(specs)
        shorter = settings.model_copy(
            update={"topics": settings.topics.model_copy(update={"retention_days": 1})}
        )
        specs = [spec for spec in topic_table(shorter) if spec.name == topic_name]
        (report,) = admin.ensure(specs)

    assert report.drift == ("retention.ms 5184000000, not 86400000",)


def test_a_topic_made_again_has_another_identity(broker: Broker, topic_name: str) -> None:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap)
    client = kafka.KafkaAdminClient(**client_options(settings))
    new = {topic_name: {"num_partitions": 3, "replication_factor": 1}}

    client.create_topics(new, wait_for_metadata=True)
    first = asyncio.run(describe(settings, topic_name))
    same = asyncio.run(describe(settings, topic_name))
    client.delete_topics([topic_name])
    client.create_topics(new, wait_for_metadata=True)
    second = asyncio.run(describe(settings, topic_name))
    client.close()

    assert first == same
    assert first.partitions == 3
    assert first.topic_id
    assert first.cluster_id == second.cluster_id
    assert first.topic_id != second.topic_id


def test_a_topic_that_is_not_there_says_what_to_do(broker: Broker, topic_name: str) -> None:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap)

    with pytest.raises(BrokerError, match="tocsin topics create"):
        asyncio.run(describe(settings, topic_name))


def test_commits_and_log_ends_are_found_by_partition(
    broker: Broker, topic_name: str, namespace: str
) -> None:
    settings = KafkaSettings(bootstrap_servers=broker.bootstrap)

    async def produce(count: int) -> dict[int, int]:
        async with KeyedProducer(settings) as producer:
            await producer.send_many(topic_name, [(b"k", b"v")] * count)
            await producer.flush()
            return producer.ends(topic_name)

    async def commit(partition: int, offset: int) -> None:
        consumer = aiokafka.AIOKafkaConsumer(
            **client_options(settings), group_id=namespace, enable_auto_commit=False
        )
        await consumer.start()
        at = aiokafka.TopicPartition(topic_name, partition)
        consumer.assign([at])
        await consumer.commit({at: offset})
        await consumer.stop()

    with connect(settings) as admin:
        admin._client.create_topics(
            {topic_name: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True
        )
        assert asyncio.run(log_ends(settings, topic_name)) == {0: 0, 1: 0}
        assert admin.committed(namespace, topic_name) == {}

        (partition,) = asyncio.run(produce(10))
        assert asyncio.run(produce(5)) == {partition: 15}
        assert asyncio.run(log_ends(settings, topic_name)) == {partition: 15, 1 - partition: 0}

        assert admin.lag(namespace, topic_name) == 15

        asyncio.run(commit(partition, 7))
        assert admin.committed(namespace, topic_name) == {partition: 7}
        assert admin.lag(namespace, topic_name) == 8
        assert namespace in admin.groups()

"""What is no standstill to a worker, and when it gives up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from kafka import KafkaAdminClient, TopicPartition
from redis import Redis

from models.fraud.simulator import SimulatorConfig, simulate
from streams.admin import connect
from streams.devstack import KafkaBroker, RedisServer
from streams.errors import RESTART
from streams.pipeline.loss import LOOK_EVERY_S
from streams.producers.records import transaction_records
from tests.fakes.records import payment, verdict
from tests.worker import Bed, Produced, WorkerProcess, bed_on

pytestmark = pytest.mark.slow


@pytest.fixture
def bed(
    kafka_broker: KafkaBroker, private_redis: RedisServer, namespace: str, tmp_path: Path
) -> Iterator[Bed]:
    bed = bed_on(kafka_broker.bootstrap, private_redis.url, namespace, tmp_path)
    bed.create_topics()
    yield bed
    bed.close()


def payments(count: int) -> list[Produced]:
    world = SimulatorConfig(customers=200, terminals=200, seed=5)
    rows = simulate(world, 4).take(slice(0, count))
    return [Produced(value, key) for key, value in transaction_records(rows, "EUR")]


def delete_all(bed: Bed) -> None:
    """Do what retention does."""
    topic = bed.settings.topics.transactions
    admin = KafkaAdminClient(bootstrap_servers=bed.settings.kafka.bootstrap_servers)
    try:
        admin.delete_records(
            {TopicPartition(topic, at): end for at, end in bed.ends(topic).items()}
        )
    finally:
        admin.close()


def test_a_partition_whose_records_retention_deleted_is_no_standstill(bed: Bed) -> None:
    bed.produce(bed.settings.topics.transactions, payments(200))
    delete_all(bed)
    with bed.worker(TOCSIN_DELIVERY__STUCK_AFTER_S="2") as worker:
        worker.until_ready()
        time.sleep(5)
        assert worker.status is None, worker.log
        assert worker.metric("tocsin_lag_records") == 0
        assert worker.reasons() == []


def test_the_first_records_of_all_are_missed_when_retention_takes_them_unread(bed: Bed) -> None:
    topic, group = bed.settings.topics.transactions, bed.settings.fraud.group
    with bed.worker() as worker, connect(bed.settings.kafka) as cluster:
        worker.until_ready()
        begun = dict.fromkeys(bed.ends(topic), 0)
        worker.until(lambda: cluster.committed(group, topic) == begun, "a place to go on from")
    bed.produce(topic, payments(200))
    delete_all(bed)
    with bed.worker() as worker:
        worker.until_ready()
        assert worker.metric("tocsin_gone_records_total") == 200
        for partition, end in bed.ends(topic).items():
            told = f"partition {partition} of {topic}: offsets 0 to {end - 1} are gone"
            assert any(told in line for line in worker.log)


def test_scores_without_room_for_every_partition_are_waited_for(bed: Bed) -> None:
    topics = bed.settings.topics
    bed.produce(topics.transactions, payments(200))
    client = AdminClient({"bootstrap.servers": bed.settings.kafka.bootstrap_servers})

    def grow(topic: str, partitions: int) -> None:
        client.create_partitions([NewPartitions(topic, partitions)])[topic].result(20)

    has = len(bed.ends(topics.scores))
    grow(topics.transactions, has + 1)
    with bed.worker(TOCSIN_FRAUD__PUBLISH_SCORES="true") as worker:
        worker.until_reason(f"{topics.scores}' has {has} partitions.*: give it as many")
        grow(topics.scores, has + 1)
        bed.produce(topics.transactions, [Produced(payment(), b"card", partition=has)])
        worker.until(lambda: worker.metric("tocsin_acknowledged_total") == 201, "201 stored")
        assert worker.stop() == 0
    assert len(bed.read(topics.scores)) == 201


def test_a_worker_told_to_stop_while_redis_is_away_gives_up_at_its_deadline(
    bed: Bed, private_redis: RedisServer
) -> None:
    topic = bed.settings.topics.transactions
    with bed.worker(TOCSIN_DELIVERY__DRAIN_TIMEOUT_S="3") as worker:
        worker.until_ready()
        private_redis.stop()
        bed.produce(topic, payments(500))
        worker.until_reason("waiting for Redis")
        assert worker.status is None

        asked = time.monotonic()
        assert worker.stop() == RESTART
        assert time.monotonic() - asked < 15
        assert any("could not finish within 3 s" in line for line in worker.log)
    assert bed.lag(bed.settings.fraud.group, topic) == 500

    private_redis.start()
    with bed.worker() as worker:
        worker.until(lambda: worker.metric("tocsin_acknowledged_total") == 500, "500 stored")
        assert worker.stop() == 0
    assert bed.lag(bed.settings.fraud.group, topic) == 0


def verdicts(count: int) -> list[Produced]:
    return [
        Produced(verdict(tx_id=f"t{n}", terminal_id=f"m{n % 7}"), b"m%d" % (n % 7))
        for n in range(count)
    ]


def terminals(url: str, bed: Bed) -> dict[bytes, bytes]:
    """What is stored of each terminal."""
    begin = f"{bed.settings.labels.group}:{{rows}}:".encode()
    with Redis.from_url(url) as redis:
        keys = [key for key in redis.scan_iter(begin + b"*") if len(key) == len(begin) + 16]
        return {key: redis.get(key) or b"" for key in keys}


@contextmanager
def idle_after(bed: Bed, produced: Sequence[Produced]) -> Iterator[WorkerProcess]:
    """A labels worker that has stored and committed all of `produced`."""
    topic, group = bed.settings.topics.labels, bed.settings.labels.group
    bed.produce(topic, produced)
    with bed.worker("labels") as worker:
        worker.until_ready()
        worker.until(lambda: bed.lag(group, topic) == 0, "commit of everything")
        yield worker


def test_an_idle_worker_ends_when_redis_is_emptied_and_the_next_rebuilds_what_others_read(
    bed: Bed, private_redis: RedisServer
) -> None:
    with idle_after(bed, verdicts(50)) as worker:
        known = terminals(private_redis.url, bed)
        assert len(known) == 7
        time.sleep(2 * LOOK_EVERY_S)
        assert worker.status is None, worker.log
        with Redis.from_url(private_redis.url) as redis:
            redis.flushall()
        assert worker.wait() == RESTART
        assert "went back in time" in worker.log[-1]
    with bed.worker("labels") as worker:
        worker.until_ready()
        assert terminals(private_redis.url, bed) == known
        assert worker.stop() == 0


def test_an_idle_worker_does_not_wait_for_a_redis_that_is_away(
    bed: Bed, private_redis: RedisServer
) -> None:
    with idle_after(bed, verdicts(50)) as worker:
        private_redis.stop()
        time.sleep(2 * LOOK_EVERY_S)
        assert worker.status is None, worker.log
        private_redis.start()
        time.sleep(2 * LOOK_EVERY_S)
        assert worker.status is None, worker.log
        private_redis.stop()
        assert worker.stop() == 0

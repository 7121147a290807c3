"""Log ends, and offsets that no record has: a commit runs past them, no state is lost for that."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Producer

from streams.admin import connect, log_ends
from streams.devstack import KafkaBroker
from streams.reading import holds_records, read_topic
from streams.settings import KafkaSettings
from streams.topics import TopicSpec

pytestmark = pytest.mark.integration


def test_transaction_markers_are_told_from_records(
    kafka_broker: KafkaBroker, topic_name: str
) -> None:
    kafka = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap)
    with connect(kafka) as admin:
        admin.ensure([TopicSpec(topic_name, "markers", 1, 1, {})])
    producer = Producer(
        {"bootstrap.servers": kafka_broker.bootstrap, "transactional.id": topic_name}
    )
    producer.init_transactions()
    for value in (b"0", b"2"):
        producer.begin_transaction()
        producer.produce(topic_name, value)
        producer.commit_transaction()
    # Offsets: a record, its marker, a record, its marker.

    def holds(first: int, end: int) -> bool:
        return asyncio.run(holds_records(kafka, topic_name, 0, first, end))

    assert asyncio.run(log_ends(kafka, topic_name)) == {0: 4}
    assert not holds(3, 4)
    assert not holds(1, 2)
    assert holds(1, 3)
    assert holds(0, 1)
    assert not holds(4, 4)

    async def read() -> list[bytes]:
        batches = read_topic(kafka, topic_name, from_beginning=True, follow=False)
        return [record.value async for batch in batches for record in batch]

    assert asyncio.run(asyncio.wait_for(read(), 60)) == [b"0", b"2"]  # and comes to its end


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_log_ends_where_it_does_however_its_records_are_compressed(
    kafka_broker: KafkaBroker, topic_name: str, codec: str
) -> None:
    kafka = KafkaSettings(bootstrap_servers=kafka_broker.bootstrap)
    with connect(kafka) as admin:
        admin.ensure([TopicSpec(topic_name, "compressed", 1, 1, {})])
    producer = Producer(
        {"bootstrap.servers": kafka_broker.bootstrap, "compression.type": codec, "linger.ms": 100}
    )
    for _ in range(100):
        producer.produce(topic_name, b"the same again and again")
    assert producer.flush(30) == 0

    assert asyncio.run(log_ends(kafka, topic_name)) == {0: 100}

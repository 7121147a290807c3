"""Publishing: everything is acknowledged, in order, and only what is too large is cut."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka import errors as kafka_errors
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.pipeline import publish as publish_module
from streams.pipeline.batch import Message
from streams.pipeline.publish import BATCH_BYTES, KafkaPublisher
from streams.settings import KafkaSettings
from streams.status import Status

PARTITIONS = 4
LIMIT = 4096
"""Largest record that the fake's topics take."""

Sent = tuple[str, int, bytes | None, bytes | None, dict[str, bytes | None]]


class FakeBuilder:
    """Collects messages as `BatchBuilder` does: at least one, then as many as fit."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.size = 0

    def append(self, **message: Any) -> object:
        size = 64 + len(message["key"] or b"") + len(message["value"] or b"")
        if self.messages and self.size + size > BATCH_BYTES:
            return None
        self.size += size
        self.messages.append(message)
        return self

    def close(self) -> None:
        """Nothing more comes."""


class FakeProducer:
    """A producer whose broker can be told to fail."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.batches = 0
        self.faults: list[Callable[[str], Exception | None]] = []
        self.stopped = False

    def create_batch(self) -> FakeBuilder:
        return FakeBuilder()

    async def partitions_for(self, _: str) -> set[int]:
        return set(range(PARTITIONS))

    async def send_batch(
        self, builder: FakeBuilder, topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        self.batches += 1
        future = asyncio.get_running_loop().create_future()
        fault = self.faults.pop(0)(topic) if self.faults else None
        if fault is not None:
            future.set_exception(fault)
        elif any(len(message["value"] or b"") > LIMIT for message in builder.messages):
            future.set_exception(kafka_errors.MessageSizeTooLargeError())
        else:
            for message in builder.messages:
                headers = dict(message["headers"])
                row = (topic, partition, message["key"], message["value"], headers)
                self.sent.append(row)
            future.set_result(None)
        return future

    async def stop(self) -> None:
        self.stopped = True


WHY = [("tocsin-reason", b"why")]


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> FakeProducer:
    producer = FakeProducer()

    async def start(*_: object, **__: object) -> FakeProducer:
        producer.stopped = False
        return producer

    monkeypatch.setattr(publish_module, "start_producer", start)
    return producer


def published(messages: Sequence[Message], status: Status | None = None) -> None:
    async def run() -> None:
        publisher = KafkaPublisher(KafkaSettings(), status or Status())
        await publisher.start()
        await asyncio.wait_for(publisher.publish(messages), 10)
        await publisher.stop()
        await publisher.stop()

    asyncio.run(run())


def values(producer: FakeProducer, topic: str = "t") -> list[bytes | None]:
    return [value for name, _, _, value, _ in producer.sent if name == topic]


def test_nothing_is_published_without_a_word_to_the_broker(producer: FakeProducer) -> None:
    published([])
    assert producer.batches == 0


def test_the_fake_fills_a_batch_as_the_real_one_does() -> None:
    real = BatchBuilder(256, 0, is_transactional=False)
    large: dict[str, Any] = {"timestamp": None, "key": None, "value": b"x" * 1000, "headers": []}
    assert real.append(**large) is not None
    assert real.append(**large) is None


def test_messages_of_one_key_share_a_partition_and_keep_their_order(
    producer: FakeProducer,
) -> None:
    published([Message("t", b"k%d" % (i % 7), b"%d" % i) for i in range(100)])

    homes: dict[bytes | None, set[int]] = {}
    orders: dict[bytes | None, list[int]] = {}
    for _, partition, key, value, _ in producer.sent:
        homes.setdefault(key, set()).add(partition)
        orders.setdefault(key, []).append(int(value or 0))
    assert all(len(found) == 1 for found in homes.values())
    assert all(order == sorted(order) for order in orders.values())
    assert len(producer.sent) == 100
    assert producer.batches <= PARTITIONS


def test_messages_without_a_key_go_round_and_a_named_partition_is_obeyed(
    producer: FakeProducer,
) -> None:
    published([Message("t", None, b"x")] * 8 + [Message("t", b"k", b"y", partition=3)])

    assert {partition for _, partition, key, *_ in producer.sent if key is None} == {0, 1, 2, 3}
    assert [partition for _, partition, key, *_ in producer.sent if key == b"k"] == [3]


def test_more_than_a_batch_takes_several(producer: FakeProducer) -> None:
    published([Message("t", b"k", b"%04d" % i + b"x" * 3000) for i in range(300)])

    assert [int((value or b"")[:4]) for value in values(producer)] == list(range(300))
    assert producer.batches >= 3


def test_what_fails_is_sent_again_until_it_succeeds_and_the_wait_has_a_name(
    producer: FakeProducer,
) -> None:
    status = Status()
    status.joined()
    seen: list[list[str]] = []

    def refuse(_: str) -> Exception | None:
        seen.append(status.reasons())
        return kafka_errors.NotLeaderForPartitionError()

    producer.faults = [refuse, refuse]
    published([Message("t", b"k", b"1"), Message("t", b"k", b"2")], status)

    assert values(producer) == [b"1", b"2"]
    assert seen[0] == []
    assert "waiting for Kafka" in seen[1][0]
    assert status.reasons() == []
    assert not seen[1][0].count("\n")


def test_an_error_that_no_retry_heals_gets_a_new_producer(producer: FakeProducer) -> None:
    stopped: list[bool] = []

    def refuse(_: str) -> Exception | None:
        stopped.append(producer.stopped)
        return kafka_errors.OutOfOrderSequenceNumber()

    producer.faults = [refuse]
    published([Message("t", b"k", b"1")])

    assert stopped == [False]
    assert values(producer) == [b"1"]


def test_only_the_message_that_is_too_large_is_cut_and_the_order_stays(
    producer: FakeProducer,
) -> None:
    giant = b"g" * (LIMIT + 1)
    headers = [("trace", b"1"), ("tocsin-reason", b"why"), ("tocsin-offset", b"7")]
    letters = [
        Message("dead", b"k", b"1", headers),
        Message("dead", b"k", giant, [("tocsin-of-a-sender", giant), *headers]),
        Message("dead", b"k", b"2", headers),
    ]
    published(letters)

    assert values(producer, "dead") == [b"1", None, b"2"]
    assert [key for _, _, key, *_ in producer.sent] == [b"k", None, b"k"]
    cut = producer.sent[1][-1]
    assert cut == {
        "tocsin-reason": b"why",
        "tocsin-offset": b"7",
        "tocsin-cut-bytes": b"4097",
        "tocsin-cut-sha256": hashlib.sha256(giant).hexdigest().encode(),
    }
    assert producer.sent[2][-1] == dict(headers)


def test_an_alert_that_its_topic_does_not_take_is_kept_and_never_cut(
    producer: FakeProducer,
) -> None:
    status = Status()

    async def run() -> None:
        publisher = KafkaPublisher(KafkaSettings(), status)
        alert = Message("alerts", b"card", b"a" * (LIMIT + 1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(publisher.publish([alert]), 1)

    asyncio.run(run())
    assert producer.sent == []
    assert producer.batches > 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_giant_that_fills_a_batch_alone_takes_nobody_with_it(
    producer: FakeProducer, place: int
) -> None:
    values_in = [b"1", b"2"]
    values_in.insert(place, b"g" * (BATCH_BYTES + 1))
    published([Message("dead", b"k", value, WHY) for value in values_in])

    expected = [None if len(value) > LIMIT else value for value in values_in]
    assert values(producer, "dead") == expected


def test_an_alert_that_must_be_sent_again_is_not_cut_because_a_dead_letter_is_too_large(
    producer: FakeProducer,
) -> None:
    def refuse_alerts(topic: str) -> Exception | None:
        return kafka_errors.NotLeaderForPartitionError() if topic == "alerts" else None

    producer.faults = [refuse_alerts, refuse_alerts]
    published(
        [
            Message("dead", b"k", b"g" * (LIMIT + 1), WHY, partition=0),
            Message("alerts", b"card", b"alert", [("ce_id", b"1")], partition=0),
        ]
    )

    assert values(producer, "dead") == [None]
    (alert,) = [row for row in producer.sent if row[0] == "alerts"]
    assert alert[2:] == (b"card", b"alert", {"ce_id": b"1"})

"""A card's payments as they are read back from Apache Kafka, with their scores."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator

import pytest

from streams.connection import start_producer
from streams.dashboard import payments as reading
from streams.dashboard.payments import CardPayments, Payments
from streams.schemas import Score, Source, Transaction, encode
from tests.conftest import Stack
from tests.worker import Bed, Produced, bed_on

CARDS = ("ann", "bob", "cat")


@pytest.fixture(scope="module")
def bed(real_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """Thirty payments of three cards in turn, one record that is none, and a score of each."""
    name, folder = f"p{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("payments")
    made = bed_on(real_stack.bootstrap, real_stack.redis_url, name, folder, publish_scores=True)
    topics = made.settings.topics
    made.create_topics(only=[topics.transactions, topics.scores])
    rows = [
        Transaction(f"tx-{i}", CARDS[i % 3], f"shop-{i}", 10.0 + i, "EUR", 1_000_000 + i)
        for i in range(30)
    ]
    sent = [Produced(encode(row), row.card_id.encode(), partition=1) for row in rows]
    made.produce(topics.transactions, [*sent[:15], Produced(b"{", b"ann", partition=1), *sent[15:]])
    scores = [
        Score(row.tx_id, row.card_id, i / 100, row.event_time, "fraud", "2")
        for i, row in enumerate(rows)
    ]
    made.produce(
        topics.scores, [Produced(encode(one), one.card_id.encode(), partition=1) for one in scores]
    )
    yield made
    made.close()


def around(bed: Bed, card: str, offset: int, *, partition: int = 1, topic: str = "") -> Payments:
    source = Source(topic or bed.settings.topics.transactions, partition, offset)
    return asyncio.run(CardPayments(bed.settings).around(card, source))


def test_all_of_the_card_come_in_order_with_their_scores(bed: Bed) -> None:
    found = around(bed, "ann", 20)
    assert (found.looked, found.is_all_before) == (31, True)
    assert [one.tx_id for one in found.found] == [f"tx-{i}" for i in range(0, 30, 3)]
    assert [one.score for one in found.found] == [i / 100 for i in range(0, 30, 3)]
    assert [one.offset for one in found.found][-2:] == [25, 28]  # one record is none of them
    assert found.found[-1].amount == 37.0


def test_no_more_is_read_than_is_said(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BEFORE", 6)
    monkeypatch.setattr(reading, "AFTER", 3)
    found = around(bed, "bob", 20)
    assert (found.looked, found.is_all_before) == (9, False)
    assert [one.offset for one in found.found] == [17, 20]


def test_of_a_hot_card_the_one_that_is_asked_about_is_given(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST", 4)
    assert [one.offset for one in around(bed, "ann", 6).found] == [0, 3, 6, 9]


def test_a_card_or_a_topic_that_is_not_there_has_none(bed: Bed) -> None:
    assert around(bed, "nobody", 20).found == []
    assert around(bed, "ann", 20, topic=f"{bed.settings.topics.transactions}-gone").looked == 0
    assert around(bed, "ann", 20, partition=77).looked == 0


async def _send(bed: Bed, topic: str, rows: list[tuple[int, str, bytes]]) -> None:
    """Send what was written when (ms), by key, to partition 0."""
    producer = await start_producer(bed.settings.kafka, max_batch_size=1 << 20)
    try:
        waiting = list(rows)[::-1]
        while waiting:
            batch = producer.create_batch()
            while waiting:
                at, key, value = waiting[-1]
                if batch.append(key=key.encode(), value=value, timestamp=at) is None:
                    break
                waiting.pop()
            await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()


@pytest.fixture(scope="module")
def busy(bed: Bed) -> Bed:
    """A card that pays thrice, after 100,000 scores of others within a minute."""
    topics, then = bed.settings.topics, round(time.time() * 1000) - 3_600_000
    paid = [
        (then + 1_000 * i, Transaction(f"busy-{i}", "dan", "shop", 1.0, "EUR", then + 1_000 * i))
        for i in range(3)
    ]
    scored = [
        (at + 300, "dan", encode(Score(one.tx_id, "dan", 0.5, one.event_time, "fraud", "2")))
        for at, one in paid
    ]
    theirs = encode(Score("other", "eve", 0.1, then, "fraud", "2"))
    before = [(then - 60_000 + 6 * i // 10, "eve", theirs) for i in range(100_000)]
    asyncio.run(_send(bed, topics.transactions, [(at, "dan", encode(one)) for at, one in paid]))
    asyncio.run(_send(bed, topics.scores, [*before, *scored]))
    return bed


def test_scores_are_found_behind_a_hundred_thousand_of_others(busy: Bed) -> None:
    found = around(busy, "dan", 2, partition=0)
    assert [one.score for one in found.found] == [0.5, 0.5, 0.5]
    assert found.has_all_scores


def test_scores_that_lie_too_far_are_said_not_to_be_read(
    busy: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_SCORES", 100)
    found = around(busy, "dan", 2, partition=0)
    assert [one.score for one in found.found] == [None, None, None]
    assert not found.has_all_scores

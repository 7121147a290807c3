"""Whether everything is as if nothing had befallen, over millions of payments.

The count of each card is compared for all of them, and every alert must be of a payment that is
there. The cards of a sample are computed anew by the oracle, one payment at a time, and compared in
everything: memory, scores, alerts.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from models.fraud.features import CARD_STATE
from streams.settings import RedisSettings
from streams.state.redis import RedisStateStore
from streams.state.store import digest
from streams.state.table import parse_heads, row_dtype
from tests.chaos import oracle
from tests.chaos.oracle import Network, Place
from tests.chaos.watch import Watch
from tests.soak.traffic import BAD_HEADER
from tests.worker import Bed

SAMPLE_EVERY = 50
"""One card in so many is computed anew."""

CHUNK = 20_000
NO_CARD = -1


@dataclass
class Truth:
    """What the topic holds."""

    ends: dict[int, int] = field(default_factory=dict)
    counts: Counter[tuple[int, bytes]] = field(default_factory=Counter)
    """Payments by partition and card."""

    cards: dict[int, array[int]] = field(default_factory=dict)
    """Number of the card at each offset of a partition; `NO_CARD` where there is no payment."""

    bad: dict[Place, bytes | None] = field(default_factory=dict)
    sample: list[tuple[Place, bytes | None]] = field(default_factory=list)
    """Records of the cards of the sample, in order."""


def number_of(key: bytes) -> int:
    return int(key.rpartition(b"-")[2])


def is_sampled(key: bytes) -> bool:
    return number_of(key) % SAMPLE_EVERY == 0


def read_truth(bootstrap: str, topic: str) -> Truth:
    """Read everything that was produced."""
    truth = Truth()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "soak-truth",
            "enable.auto.commit": False,
            "queued.max.messages.kbytes": 65_536,
        }
    )
    known = consumer.list_topics(topic, 10).topics[topic].partitions
    for partition in sorted(known):
        where = TopicPartition(topic, partition, 0)
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), 10)
        truth.ends[partition] = end
        truth.cards[partition] = array("i", [NO_CARD]) * end
        consumer.assign([where])
        for offset, key, value, is_bad in _records(consumer, end):
            if is_bad:
                truth.bad[partition, offset] = value
                continue
            truth.cards[partition][offset] = number_of(key)
            truth.counts[partition, key] += 1
            if is_sampled(key):
                truth.sample.append(((partition, offset), value))
    consumer.close()
    return truth


def _records(consumer: Consumer, end: int) -> Iterator[tuple[int, bytes, bytes | None, bool]]:
    offset = -1
    while offset < end - 1:
        for message in consumer.consume(5000, 10.0):
            assert message.error() is None, message.error()
            offset = message.offset()
            is_bad = any(name == BAD_HEADER for name, _ in message.headers() or ())
            yield offset, message.key(), message.value(), is_bad


def stored_counts(bed: Bed) -> Counter[tuple[int, bytes]]:
    """Payments that the row of each card has counted, by partition and digest."""
    settings = bed.settings
    store = RedisStateStore(RedisSettings(url=settings.redis.url), settings.fraud.group)
    found: Counter[tuple[int, bytes]] = Counter()
    try:
        keys = list(store.scan())
        for first in range(0, len(keys), CHUNK):
            part = keys[first : first + CHUNK]
            homes = np.array([partition for partition, _ in part], np.int32)
            names = np.frombuffer(b"".join(name for _, name in part), np.uint8)
            rows = store.load(homes, names.reshape(len(part), -1))
            values = [row for row in rows if row is not None]
            assert len(values) == len(part)
            counts = parse_heads(values, row_dtype(CARD_STATE))["state"]["count"].tolist()
            found.update(dict(zip(part, counts, strict=True)))
    finally:
        store.close()
    return found


@dataclass
class Verdict:
    """What was found."""

    payments: int
    lost: int
    applied_twice: int
    invented_rows: int
    cards: int
    report: oracle.Report
    sampled_cards: int
    sampled_payments: int
    alerts: int
    baseless_alerts: list[dict[str, Any]]
    """Of no payment, of one of another card, or under another id."""

    repeated_alerts: int
    dead_letters: int


def judge(
    bed: Bed, network: Network, truth: Truth, commits: dict[int, int], watch: Watch
) -> Verdict:
    """Compare what is stored and published with what the topic makes of it."""
    # 1. Every card's count.
    due = {(p, digest(key.decode())): count for (p, key), count in truth.counts.items()}
    held = stored_counts(bed)
    lost = sum(max(count - held[key], 0) for key, count in due.items())
    twice = sum(max(held[key] - count, 0) for key, count in due.items())

    # 2. Every alert, and everything about the cards of the sample.
    settings = bed.settings
    expected = oracle.expect_at(truth.sample, network, truth.ends)
    assert not expected.dead
    expected.dead.update(truth.bad)
    observed = oracle.observe(
        expected,
        bootstrap=settings.kafka.bootstrap_servers,
        redis_url=settings.redis.url,
        group=settings.fraud.group,
        topic=settings.topics.transactions,
        alerts=settings.topics.alerts,
        commits=commits,
    )
    told = [alert for alert in observed.alerts if alert["kind"] == "fraud"]
    observed.ahead, observed.set_back = watch.ahead(), watch.set_back
    observed.alerts = [alert for alert in told if is_sampled(alert["entity"].encode())]
    observed.keys = len(expected.cards)  # all rows are counted above
    threshold = settings.fraud.threshold
    assert threshold is not None
    report = oracle.compare(
        expected, observed, topic=settings.topics.transactions, threshold=threshold
    )
    once = {alert["event_id"] for alert in told}
    topic = settings.topics.transactions
    return Verdict(
        payments=sum(due.values()),
        lost=lost,
        applied_twice=twice,
        invented_rows=len(held.keys() - due.keys()),
        cards=len(due),
        report=report,
        sampled_cards=len(expected.cards),
        sampled_payments=len(expected.scores),
        alerts=len(once),
        baseless_alerts=[one for one in told if not has_basis(one, truth, topic, threshold)],
        repeated_alerts=len(told) - len(once),
        dead_letters=len(truth.bad),
    )


def has_basis(alert: dict[str, Any], truth: Truth, topic: str, threshold: float) -> bool:
    """Whether it is of a payment that is there, of its card, under that payment's id."""
    partition, offset = alert["source"]["partition"], alert["source"]["offset"]
    return (
        offset < truth.ends.get(partition, 0)
        and truth.cards[partition][offset] == number_of(alert["entity"].encode())
        and alert["id"] == f"{topic}:{partition}:{offset}:fraud"
        and alert["event_id"] == f"{alert['id']}:0"
        and alert["score"] >= threshold
    )

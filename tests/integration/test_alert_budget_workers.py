"""Two real workers under one alert budget, one of them killed: counted once, decided alike."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streams.devstack import EmbeddedRedis, KafkaBroker
from streams.schemas import decode_alert
from streams.state.redis import RedisStateStore
from streams.state.sketch import KEYS, RING, ScoreSketch
from tests.fakes.model import random_model
from tests.fakes.records import payment
from tests.worker import Bed, Produced, bed_on

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
DAYS, EACH, A_DAY = 6, 400, 20


@pytest.fixture
def bed(
    kafka_broker: KafkaBroker, embedded_redis: EmbeddedRedis, namespace: str, tmp_path: Path
) -> Iterator[Bed]:
    bed = bed_on(
        kafka_broker.bootstrap,  # the embedded broker keeps a second member waiting
        embedded_redis.url,
        namespace,
        tmp_path,
        model=random_model(tmp_path),
        policy="budget",
        alerts_per_day=A_DAY,
        alerts_floor=0.0,
        threshold=0.5,
    )
    bed.create_topics()
    yield bed
    bed.close()


def day_of_payments(day: int) -> list[Produced]:
    start = (round(time.time() * 1000) // DAY_MS - 30 + day) * DAY_MS
    numbers = range(day * EACH, (day + 1) * EACH)
    return [
        Produced(
            payment(
                tx_id=str(number),
                card_id=f"c{number % 53}",
                terminal_id=f"m{number % 11}",
                amount=1.0 + number * 37 % 400,
                event_time=start + (number - numbers[0]) * DAY_MS // EACH,
            ),
            f"c{number % 53}".encode(),
        )
        for number in numbers
    ]


@pytest.mark.chaos
@pytest.mark.slow
def test_a_killed_worker_leaves_one_budget_behind(bed: Bed) -> None:
    topic, group = bed.settings.topics.transactions, bed.settings.fraud.group
    first, second = bed.worker().start(), bed.worker().start()
    first.until_ready()
    second.until_ready()
    for day in range(DAYS):
        if day == 3:
            first.kill()
            first = bed.worker().start()
            first.until_ready()
        bed.produce(topic, day_of_payments(day))
        second.until(lambda: bed.lag(group, topic) == 0, "the day's end")
    assert first.stop() == second.stop() == 0

    # 1. An hour had one threshold, whoever decided and however often.
    alerts = [decode_alert(record.value) for record in bed.read(bed.settings.topics.alerts)]
    thresholds: dict[int, set[float]] = defaultdict(set)
    for alert in alerts:
        assert alert.score >= alert.threshold
        thresholds[alert.event_time // HOUR_MS].add(alert.threshold)
    assert max(map(len, thresholds.values())) == 1
    assert len({one for many in thresholds.values() for one in many}) > 2  # and it did move

    # 2. Every transaction and every alert was counted once.
    store = RedisStateStore(bed.settings.redis, group)
    sketches = [
        ScoreSketch.parse(store.load(np.full(RING, partition, np.int32), KEYS)).rows
        for partition in range(bed.settings.topics.partitions)
    ]
    store.close()
    assert sum(int(rows["counts"].sum()) for rows in sketches) == DAYS * EACH
    assert sum(int(rows["alerts"].sum()) for rows in sketches) == len({a.id for a in alerts})

"""`tocsin state forget`: a card is gone, and stays gone when the state is rebuilt from Kafka."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

import numpy as np
import pytest
from kafka import KafkaConsumer
from redis import Redis

from streams.errors import Fenced
from streams.state.cards import CardHistory
from streams.state.redis import RedisStateStore
from streams.state.store import PartitionSnapshot, digest, digests
from tests.integration.test_state_check import bed, check, rows_of
from tests.nursery import nursery
from tests.worker import TOCSIN, Bed, Produced, environment_of

__all__ = ["bed"]

pytestmark = pytest.mark.slow


def tocsin(bed: Bed, *words: str) -> subprocess.CompletedProcess[str]:
    return nursery().run((*TOCSIN, "state", *words), environment_of(bed.settings), bed.folder)


def cards_of(bed: Bed) -> set[bytes]:
    """Digests of the cards that have a row."""
    store = RedisStateStore(bed.settings.redis, bed.settings.fraud.group)
    try:
        return {name for _, name in store.scan()}
    finally:
        store.close()


def count_of(bed: Bed, card: str) -> int:
    """How many payments the card's row has seen."""
    store = RedisStateStore(bed.settings.redis, bed.settings.fraud.group)
    try:
        return int(CardHistory(store).find([card])["count"][0])
    finally:
        store.close()


def another_group(bed: Bed, group: str) -> Bed:
    """The same topics and servers under another consumer group."""
    fraud = bed.settings.fraud.model_copy(update={"group": group})
    folder = bed.folder / "after"
    folder.mkdir()
    return Bed(bed.settings.model_copy(update={"fraud": fraud}), folder)


def test_a_card_that_is_forgotten_stays_so_when_the_state_is_rebuilt(bed: Bed) -> None:
    topics, group = bed.settings.topics, bed.settings.fraud.group
    sent = [record for record in bed.read(topics.transactions) if record.key != b"x"]
    card, _ = Counter(record.key.decode() for record in sent).most_common(1)[0]
    everybody = cards_of(bed)
    assert digest(card) in everybody

    # 1. Its row goes at once, and a check of the state knows that.
    done = tocsin(bed, "forget", card, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cards forgotten: 1, rows of state deleted: 1;")
    assert cards_of(bed) == everybody - {digest(card)}
    status, (told,) = check(bed)
    assert status == 0, told
    assert f"{len(everybody) - 1} right, 0 wrong" in told

    # 2. A rebuild does not bring it back; a later payment is a new card's.
    assert tocsin(bed, "rebuild", "fraud", "--yes").returncode == 0
    assert cards_of(bed) == set()
    again = next(record.value for record in sent if record.key.decode() == card)
    with bed.worker() as worker:
        worker.until_ready()
        assert cards_of(bed) == everybody - {digest(card)}
        busy = tocsin(bed, "forget", card, "--yes")
        assert busy.returncode != 0
        assert "stop its workers first" in busy.stderr
        bed.produce(topics.transactions, [Produced(again, card.encode())])
        worker.until(lambda: bed.lag(group, topics.transactions) == 0, "commit of everything")
        assert worker.stop() == 0
    assert cards_of(bed) == everybody
    status, (told,) = check(bed)
    assert status == 0, told
    assert f"{len(everybody)} right, 0 wrong" in told

    # 3. Nothing on record names it.
    reader = KafkaConsumer(
        topics.forgotten,
        bootstrap_servers=bed.settings.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3000,
    )
    (erasure,) = list(reader)
    reader.close()
    assert erasure.key == f"{group}:{digest(card).hex()}".encode()
    # By its fields: a card's short number may stand in a time by chance.
    assert json.loads(erasure.value).keys() == {"topic", "topic_id", "offsets", "at"}


def test_a_card_that_is_forgotten_stays_so_in_the_group_that_comes_after_and_in_the_one_before(
    bed: Bed,
) -> None:
    topics, old = bed.settings.topics, bed.settings.fraud.group
    sent = [record for record in bed.read(topics.transactions) if record.key != b"x"]
    (first, _), (second, _) = Counter(one.key.decode() for one in sent).most_common(2)
    others = cards_of(bed) & {digest(one.key.decode()) for one in sent} - {digest(first)}
    assert tocsin(bed, "forget", first, "--yes").returncode == 0

    # 1. Another group rebuilds everything, but not that card.
    after = another_group(bed, f"{old}-new")
    assert tocsin(after, "adopt", old).returncode == 0
    with after.worker() as worker:
        worker.until_ready()
        worker.until(lambda: others <= cards_of(after), "the other cards")
        assert digest(first) not in cards_of(after)
        assert worker.stop() == 0

    # 2. What is forgotten there is so here too, even if a Redis that is set back has its row.
    with Redis.from_url(bed.settings.redis.url) as redis:
        (key,) = [one for one in rows_of(bed, redis) if one.endswith(digest(second))]
        row = redis.get(key) or b""
        assert tocsin(after, "forget", second, "--yes").returncode == 0
        assert digest(second) not in cards_of(bed) | cards_of(after)
        redis.set(key, row)
    again = next(record for record in sent if record.key.decode() == second)
    with bed.worker() as worker:
        worker.until_ready()
        bed.produce(topics.transactions, [Produced(again.value, again.key)])
        worker.until(lambda: bed.lag(old, topics.transactions) == 0, "commit of everything")
        assert worker.stop() == 0
    status, (told,) = check(bed)
    assert status == 0, told
    assert f"{len(others)} right, 0 wrong" in told


def test_a_card_is_forgotten_in_every_group_though_another_one_is_ahead(bed: Bed) -> None:
    topic, old = bed.settings.topics.transactions, bed.settings.fraud.group
    sent = [record for record in bed.read(topic) if record.key != b"x"]
    (card, _), (other, _) = Counter(one.key.decode() for one in sent).most_common(2)

    # 1. Another group goes on, past where this one has stopped.
    after = another_group(bed, f"{old}-new")
    assert tocsin(after, "adopt", old).returncode == 0
    again = [next(one for one in sent if one.key.decode() == name) for name in (card, other)]
    bed.produce(topic, [Produced(one.value, one.key) for one in again])
    with after.worker() as worker:
        worker.until(lambda: bed.lag(f"{old}-new", topic) == 0, "commit of everything")
        busy = tocsin(bed, "forget", card, "--yes")
        assert busy.returncode != 0
        assert f"group '{old}-new' has 1 member: stop its workers first" in busy.stderr
        assert worker.stop() == 0
    assert digest(card) in cards_of(bed) & cards_of(after)

    # 2. Its memory of the card goes too.
    done = tocsin(bed, "forget", card, "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cards forgotten: 1, rows of state deleted: 2;")
    assert digest(card) not in cards_of(bed) | cards_of(after)

    # 3. What comes later is a new card's, in both.
    bed.produce(topic, [Produced(again[0].value, again[0].key)])
    for one in (bed, after):
        group = one.settings.fraud.group
        with one.worker() as worker:
            worker.until(lambda group=group: bed.lag(group, topic) == 0, "commit of everything")
            assert worker.stop() == 0
        assert count_of(one, card) == 1
        assert count_of(one, other) > 1
        status, (told,) = check(one)
        assert status == 0, told


def test_what_a_stopped_worker_still_holds_of_a_card_is_not_written_after_all(bed: Bed) -> None:
    topics, group = bed.settings.topics, bed.settings.fraud.group
    sent = [record for record in bed.read(topics.transactions) if record.key != b"x"]
    (card, _), (other, _) = Counter(one.key.decode() for one in sent).most_common(2)
    stopped = RedisStateStore(bed.settings.redis, group)
    partition = next(one.partition for one in sent if one.key.decode() == card)
    marker = stopped.claim([partition], 1_000_000)[partition] or 0
    (row,) = stopped.load(np.array([partition], np.int32), digests([card]))
    held = PartitionSnapshot(
        partition, digests([card]), np.frombuffer(row or b"", np.uint8)[np.newaxis], marker + 1
    )

    assert tocsin(bed, "forget", card, "--yes").returncode == 0
    with pytest.raises(Fenced):
        stopped.flush(held)
    assert digest(card) not in cards_of(bed)

    # Who starts afterwards is not kept out, whatever the group's generation was.
    again = next(record for record in sent if record.key.decode() == other)
    bed.produce(topics.transactions, [Produced(again.value, again.key)])
    with bed.worker() as worker:
        worker.until_ready()
        worker.until(lambda: bed.lag(group, topics.transactions) == 0, "commit of everything")
        assert worker.stop() == 0
    assert digest(card) not in cards_of(bed)
    status, (told,) = check(bed)
    assert status == 0, told
    stopped.close()


def test_without_a_card_nothing_is_forgotten(bed: Bed) -> None:
    before = cards_of(bed)
    for words in (["forget"], ["forget", "", "--yes"], ["forget", "somebody"]):
        done = tocsin(bed, *words)
        assert done.returncode != 0
    assert "give --yes" in done.stderr
    assert cards_of(bed) == before

"""`tocsin state forget`: a card is gone, and stays gone when the state is rebuilt from Kafka."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

import pytest
from kafka import KafkaConsumer

from streams.state.redis import RedisStateStore
from streams.state.store import digest
from tests.integration.test_state_check import bed, check
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
    fraud = bed.settings.fraud.model_copy(update={"group": f"{old}-new"})
    folder = bed.folder / "after"
    folder.mkdir()
    after = Bed(bed.settings.model_copy(update={"fraud": fraud}), folder)
    assert tocsin(after, "adopt", old).returncode == 0
    with after.worker() as worker:
        worker.until_ready()
        worker.until(lambda: others <= cards_of(after), "the other cards")
        assert digest(first) not in cards_of(after)
        assert worker.stop() == 0

    # 2. What is forgotten there is so here too, though its row is from before.
    assert tocsin(after, "forget", second, "--yes").returncode == 0
    assert digest(second) in cards_of(bed)
    again = next(record for record in sent if record.key.decode() == second)
    with bed.worker() as worker:
        worker.until_ready()
        bed.produce(topics.transactions, [Produced(again.value, again.key)])
        worker.until(lambda: bed.lag(old, topics.transactions) == 0, "commit of everything")
        assert worker.stop() == 0
    status, (told,) = check(bed)
    assert status == 0, told
    assert f"{len(others)} right, 0 wrong" in told


def test_without_a_card_nothing_is_forgotten(bed: Bed) -> None:
    before = cards_of(bed)
    for words in (["forget"], ["forget", "", "--yes"], ["forget", "somebody"]):
        done = tocsin(bed, *words)
        assert done.returncode != 0
    assert "give --yes" in done.stderr
    assert cards_of(bed) == before

"""Redis forgets: everything, or the last second."""

from __future__ import annotations

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from streams.devstack import RedisServer
from streams.errors import RESTART
from tests.chaos.conftest import MakeDrill
from tests.chaos.drill import Case, Drill
from tests.chaos.worker import until
from tests.conftest import Stack

pytestmark = pytest.mark.chaos


@pytest.mark.fault(
    "Redis is emptied",
    must="the worker ends with status 75; the next rebuilds the state without output",
)
def test_an_emptied_redis_ends_the_worker_and_is_rebuilt_quietly(
    fragile_drill: Drill, private_redis: RedisServer
) -> None:
    drill = fragile_drill
    worker = drill.start(slow=(), member="one")
    worker.batches(30)
    with Redis.from_url(private_redis.url) as client:
        client.flushall()
    assert worker.status(20) == RESTART
    drill.witness.hit("the worker noticed at its next flush, and ended")
    assert "went back in time" in worker.text()
    committed = drill.commits()
    assert any(committed.values())
    assert drill.lag() > 0

    last = drill.finish(member="one")
    assert "rebuilding partition" in last.text()
    assert last.terminate() == 0
    report = drill.check()
    for partition, offset in report.repeated:
        assert offset >= committed[partition], "the rebuild raised an alert again"


@pytest.mark.fault(
    "Redis is set back by a second",
    must="the worker ends with status 75; the next catches up without output",
)
def test_a_redis_from_a_second_ago_ends_the_worker_and_is_caught_up(
    fragile_drill: Drill, private_redis: RedisServer
) -> None:
    drill = fragile_drill
    worker = drill.start(slow=(), member="one")
    with Redis.from_url(private_redis.url) as client:
        worker.batches(15)
        old = _copy(client)
        then = drill.commits()
        worker.batches(15 + 25)  # 25 pauses: a second
        until(lambda: drill.commits() != then, 10, lambda: "no commit after the copy")
        _restore(client, old)
    assert worker.status(20) == RESTART
    drill.witness.hit("the worker noticed at its next flush, and ended")
    assert "went back in time" in worker.text()
    committed = drill.commits()
    assert drill.lag() > 0

    last = drill.finish(member="one")
    assert "rebuilding partition" in last.text(), "the copy was not older than the commit"
    assert last.terminate() == 0
    report = drill.check()
    for partition, offset in report.repeated:
        assert offset >= committed[partition], "catching up raised an alert again"


@pytest.mark.long
@pytest.mark.fault(
    "retention deletes what no worker has read yet",
    must="the worker goes on behind it, and says which offsets are gone: at its start and later",
)
def test_what_retention_took_before_it_was_read_is_told_and_counted(
    make_drill: MakeDrill, small_case: Case, real_stack: Stack
) -> None:
    drill = make_drill(small_case, real_stack.bootstrap, real_stack.redis_url)
    stream = small_case.stream
    drill.pace(0.2)
    early = drill.start(slow=(), member="one")
    early.batches(5)
    assert early.terminate() == 0
    committed = drill.commits()
    first = {partition: end - 100 for partition, end in stream.ends.items()}
    assert all(committed[partition] < offset for partition, offset in first.items())

    # 1. While no worker is there.
    _delete_records(drill, first)
    worker = drill.start(slow=(), member="one")
    worker.batches(1)
    for partition in stream.ends:
        told = f"offsets {committed[partition]} to {first[partition] - 1} are gone"
        assert told in worker.text()
    before = sum(first.values()) - sum(committed.values())
    assert worker.metric("tocsin_gone_records_total") == before

    # 2. While one is there that stands still: more than it has fetched ahead.
    until(lambda: drill.lag() == 0, 60, worker.text)
    worker.pause()
    more = {partition: records * 20 for partition, records in enumerate(stream.partitions)}
    for partition, records in more.items():
        drill.produce(partition, records)
    ends = {partition: end + len(more[partition]) for partition, end in stream.ends.items()}
    _delete_records(drill, {partition: end - 10 for partition, end in ends.items()})
    worker.resume()
    drill.pace(0.0)
    until(lambda: drill.commits() == ends, 60, worker.text)
    later = worker.metric("tocsin_gone_records_total") - before
    assert later > 0
    assert worker.text().count("are gone, nothing was made of them") > len(ends)
    drill.witness.hit(f"{before:,} records were gone at its start, {later:,.0f} later")
    assert worker.terminate() == 0


def _delete_records(drill: Drill, before: dict[int, int]) -> None:
    """Do what retention does, without the wait for a segment to grow old."""
    admin = AdminClient({"bootstrap.servers": drill.bootstrap})
    where = [TopicPartition(drill.topic, partition, at) for partition, at in before.items()]
    for done in admin.delete_records(where).values():
        done.result(20)


Copy = dict[bytes, tuple[bytes, int]]


def _copy(client: Redis) -> Copy:
    """Copy every key with its time to live, at one moment."""
    keys = list(client.scan_iter(count=10_000))
    with client.pipeline(transaction=True) as pipe:
        for key in keys:
            pipe.dump(key)
            pipe.pttl(key)
        answers = pipe.execute()
    return {
        key: (value, max(left, 0))
        for key, value, left in zip(keys, answers[::2], answers[1::2], strict=True)
        if value is not None
    }


def _restore(client: Redis, copy: Copy) -> None:
    """Put everything back as it was, in one step."""
    with client.pipeline(transaction=True) as pipe:
        pipe.flushall()
        for key, (value, left) in copy.items():
            pipe.restore(key, left, value)
        pipe.execute()

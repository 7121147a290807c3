"""Redis forgets: everything, or the last second."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from streams.devstack import RedisServer
from streams.errors import RESTART
from tests.chaos.conftest import MakeDrill
from tests.chaos.drill import Case, Drill
from tests.chaos.events import Stream
from tests.chaos.oracle import Network, expect_at
from tests.chaos.worker import WorkerProcess, until
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
    must="the worker goes on behind it, and says which offsets are gone, at its start and later: "
    "every other record has its fate",
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
    before = {partition: (committed[partition], first[partition] - 1) for partition in first}
    assert sorted(_gone(worker)) == [(at, *what) for at, what in sorted(before.items())]
    at_start = sum(last - begin + 1 for begin, last in before.values())
    assert worker.metric("tocsin_gone_records_total") == at_start

    # 2. While one is there that stands still: more than it has fetched ahead.
    until(lambda: drill.lag() == 0, 60, worker.text)
    worker.pause()
    whole = Stream(tuple(records * 21 for records in stream.partitions))
    for partition, records in enumerate(stream.partitions):
        drill.produce(partition, records * 20)
    kept = {partition: end - 10 for partition, end in whole.ends.items()}
    _delete_records(drill, kept)
    worker.resume()
    drill.pace(0.0)
    until(lambda: drill.commits() == whole.ends, 60, worker.text)
    gone = _gone(worker)
    for partition, begin, last in gone[len(before) :]:
        assert stream.ends[partition] <= begin <= last < kept[partition], "it was there to be read"
    assert {partition for partition, *_ in gone[len(before) :]} == set(kept)
    missed = {(at, offset) for at, begin, last in gone for offset in range(begin, last + 1)}
    assert len(missed) == sum(last - begin + 1 for _, begin, last in gone), "told twice"
    assert worker.metric("tocsin_gone_records_total") == len(missed)
    later = len(missed) - at_start
    drill.witness.hit(f"{at_start:,} records were gone at its start, {later:,} later")
    assert worker.terminate() == 0

    # 3. What it does not call gone has its fate, as if there had never been anything else.
    read = (
        ((partition, offset), value)
        for partition, records in enumerate(whole.partitions)
        for offset, (_, value) in enumerate(records)
        if (partition, offset) not in missed
    )
    network = Network(small_case.manifest.with_suffix(".safetensors"))
    drill.case = replace(small_case, stream=whole, expected=expect_at(read, network, whole.ends))
    observed = drill.observed()
    report = drill.report(observed)
    assert not report.problems, f"{report}"
    expected = drill.case.expected
    assert len(expected.scores) + len(expected.dead) + len(missed) == sum(whole.ends.values())
    drill.witness.found(
        f"of {sum(whole.ends.values()):,} records {len(expected.scores):,} were scored and "
        f"{len(expected.dead):,} buried, all others told as gone; {len(expected.cards):,} cards "
        f"and {len(observed.alerts) - len(report.repeated):,} alerts right"
    )


def _gone(worker: WorkerProcess) -> list[tuple[int, int, int]]:
    """What it called gone: partition, first and last offset, in its order."""
    found = re.findall(r"partition (\d+) of \S+: offsets (\d+) to (\d+) are gone", worker.text())
    return [(int(partition), int(first), int(last)) for partition, first, last in found]


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

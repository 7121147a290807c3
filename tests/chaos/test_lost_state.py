"""Redis forgets: everything, or the last second."""

from __future__ import annotations

import pytest
from redis import Redis

from streams.devstack import RedisServer
from streams.errors import RESTART
from tests.chaos.drill import Drill
from tests.chaos.worker import until

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

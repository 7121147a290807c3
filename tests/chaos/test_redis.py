"""Redis goes away, comes back, is full, or is slow."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from streams.devstack import RedisServer
from streams.errors import RESTART
from streams.settings import RedisSettings
from streams.state.redis import RedisStateStore
from tests.chaos.conftest import MakeDrill, under_load
from tests.chaos.drill import Case, Drill
from tests.chaos.proxy import Proxy
from tests.chaos.worker import until
from tests.conftest import DURABLE, Stack, started

pytestmark = pytest.mark.chaos

WAITS = "the worker says so, waits, and goes on by itself"


class CarefulRedis(RedisServer):
    """A Redis that is told by an error, not ended by a signal, that a file may not grow."""

    def command(self) -> list[str]:
        return ["/bin/sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh", *super().command()]


@pytest.fixture
def careful_redis() -> Iterator[CarefulRedis]:
    with started(CarefulRedis(args=DURABLE), real=True) as server:
        yield server


@pytest.mark.fault("Redis restarts, its data kept", must=WAITS)
def test_a_redis_that_restarts_is_waited_for(
    fragile_drill: Drill, private_redis: RedisServer
) -> None:
    drill = fragile_drill
    worker = drill.start(slow=(), member="one")
    worker.batches(10)
    private_redis.stop()
    reason = worker.reasons("waiting for Redis")
    private_redis.start()
    drill.witness.hit(f"“{reason.partition(':')[0]}” on /readyz")
    drill.finish_as_begun()


@pytest.mark.long
@pytest.mark.fault(
    "Redis is killed ten times, five times with what it wrote last lost",
    must="where flushes are gone the worker ends with status 75, and the next catches up",
)
def test_a_redis_that_is_killed_again_and_again_costs_nothing(
    make_drill: MakeDrill, long_case: Case, real_stack: Stack, private_redis: RedisServer
) -> None:
    drill = make_drill(long_case, real_stack.bootstrap, private_redis.url)
    drill.pace(0.2)
    drill.start(slow=(), member="one")
    ended = 0
    for number in range(10):
        worker = under_load(drill, 5)
        loses = number % 2 == 1
        log = _log_of(private_redis)
        length, stored = log.stat().st_size, markers_of(drill)
        until(lambda was=stored: markers_of(drill) != was, 20, worker.text)
        stored = markers_of(drill)
        private_redis.kill()
        if loses:  # SIGKILL spares what the kernel has: a power cut does not
            os.truncate(log, length)
        private_redis.start()
        found = markers_of(drill)
        if loses:
            assert any(found[at] < stored[at] for at in stored), "no flush was lost"
            assert worker.status(30) == RESTART, worker.text()
            assert "went back in time" in worker.text()
        else:
            assert all(found[at] >= stored[at] for at in stored), "a flush was lost"
        ended += loses
    drill.witness.hit(f"10 kills under load; {ended} lost flushes, and ended the worker")
    drill.finish_as_begun(120, successors=ended)


def _log_of(redis: RedisServer) -> Path:
    """The file to which it appends."""
    (log,) = redis.data.glob("appendonlydir/*.incr.aof")
    return log


def markers_of(drill: Drill) -> dict[int, int]:
    """The offset up to which each partition is stored."""
    store = RedisStateStore(RedisSettings(url=drill.redis_url), drill.group)
    try:
        markers = store.markers(sorted(drill.case.stream.ends))
    finally:
        store.close()
    return {partition: -1 if at is None else at for partition, at in markers.items()}


@pytest.mark.fault("Redis is out of memory", must=WAITS)
def test_a_redis_that_is_out_of_memory_is_waited_for(
    fragile_drill: Drill, private_redis: RedisServer
) -> None:
    drill = fragile_drill
    worker = drill.start(slow=(), member="one")
    worker.batches(10)
    with Redis.from_url(private_redis.url) as client:
        client.config_set("maxmemory", "1mb")
        worker.reasons("maxmemory")
        assert client.info("errorstats")["errorstat_OOM"]["count"] > 0
        client.config_set("maxmemory", "0")
    drill.witness.hit("it answered “command not allowed when used memory > maxmemory”")
    drill.finish_as_begun()


@pytest.mark.fault("the disk under Redis is full", must=WAITS)
def test_a_redis_that_cannot_write_its_log_is_waited_for(
    make_drill: MakeDrill, case: Case, real_stack: Stack, careful_redis: CarefulRedis
) -> None:
    drill = make_drill(case, real_stack.bootstrap, careful_redis.url)
    worker = drill.start(slow=(), member="one")
    worker.batches(10)
    full = max(file.stat().st_size for file in careful_redis.data.glob("appendonlydir/*"))
    _, most = resource.prlimit(careful_redis.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(careful_redis.pid, resource.RLIMIT_FSIZE, (full, most))
    worker.reasons("MISCONF")
    resource.prlimit(careful_redis.pid, resource.RLIMIT_FSIZE, (most, most))
    drill.witness.hit("it answered MISCONF: its append-only file could not grow")
    drill.finish_as_begun()


@pytest.fixture
def far_drill(fragile_drill: Drill, private_redis: RedisServer) -> Iterator[tuple[Drill, Proxy]]:
    """A drill whose workers reach Redis through a proxy."""
    port = private_redis.url.rpartition(":")[2].partition("/")[0]
    with Proxy(int(port)) as proxy:
        url = private_redis.url.replace(f":{port}/", f":{proxy.port}/")
        fragile_drill.settings["TOCSIN_REDIS__URL"] = url
        yield fragile_drill, proxy


@pytest.mark.fault("Redis is slow: 0.3 s an answer", must="slower, and nothing else")
def test_a_slow_redis_slows_and_nothing_else(far_drill: tuple[Drill, Proxy]) -> None:
    drill, proxy = far_drill
    drill.pace(0.0)
    worker = drill.start(slow=("--start-when", str(drill.folder / "go")), member="one")
    proxy.delay_s = 0.3
    (drill.folder / "go").touch()
    until(lambda: proxy.delayed >= 30, 60, worker.text)
    assert drill.lag() > 0
    drill.witness.hit(f"{proxy.delayed} answers were late")
    proxy.delay_s = 0.0
    drill.drained()
    assert worker.terminate() == 0
    drill.check()


@pytest.mark.long
@pytest.mark.fault(
    "connections to Redis break, 20 times", must="each is made again; what was in doubt is settled"
)
def test_connections_to_redis_that_break_are_made_again(far_drill: tuple[Drill, Proxy]) -> None:
    drill, proxy = far_drill
    drill.pace(0.1)
    proxy.delay_s = 0.02  # an answer is under way when its connection breaks
    worker = drill.start(slow=(), member="one")
    worker.batches(5)
    for _ in range(20):
        time.sleep(0.3)
        proxy.cut()
    until(lambda: proxy.cuts >= 20, 10, lambda: f"{proxy.cuts} cuts")
    assert drill.lag() > 0
    drill.witness.hit(f"{proxy.cuts} connections cut under load")
    drill.finish_as_begun()

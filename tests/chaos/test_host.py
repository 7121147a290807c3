"""The machine under a worker plays tricks: its clock, its disk, its files."""

from __future__ import annotations

import os
import resource
import shutil
import time
from pathlib import Path

import pytest
from redis import Redis

from streams.devstack import RedisServer
from tests.chaos.drill import Drill
from tests.chaos.worker import START_S, until
from tests.conftest import absent

pytestmark = pytest.mark.chaos


def faketime_library() -> str:
    """The library that lies about the time, from the package `libfaketime`."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        absent(
            "libfaketime is not installed: apt-get install libfaketime",
            fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1",
        )
    return str(found[0])


@pytest.mark.long
@pytest.mark.fault(
    "the clock jumps an hour ahead, then two back",
    must="the worker keeps its partitions and its owner's lease; nothing is lost or done twice",
)
def test_a_clock_that_jumps_costs_nothing(drill: Drill) -> None:
    clock = drill.folder / "clock"
    clock.write_text("+0")
    lies = {
        "LD_PRELOAD": faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    drill.pace(0.2)
    worker = drill.start(slow=(), member="one", settings=lies, apart=True)
    worker.batches(8, 3 * START_S)  # a Python of its own imports everything anew
    owners = owners_of(drill)
    assert len(owners) == len(drill.case.stream.ends)
    for jump in ("+3600", "-3600"):
        clock.write_text(jump)
        worker.batches(worker.begun + 12)
        assert owners_of(drill) == owners, "a lease ran out, or changed hands"
    clock.write_text("+0")
    drill.pace(0.0)
    drill.drained()
    assert worker.running, worker.text()
    assert owners_of(drill) == owners
    assert worker.text().count("assigned partitions [") == 1, "it lost its place in the group"
    assert worker.terminate() == 0
    drill.check()
    ahead_ms = [alert["processed_at"] - time.time() * 1000 for alert in drill.observed().alerts]
    ahead = sum(ms > 3_000_000 for ms in ahead_ms)
    back = sum(ms < -3_000_000 for ms in ahead_ms)
    assert ahead
    assert back
    drill.witness.hit(f"{ahead} alerts are of an hour ahead, {back} of an hour back")


def owners_of(drill: Drill) -> dict[bytes, bytes]:
    """Who may write each partition, of those whose lease has not run out."""
    with Redis.from_url(drill.redis_url) as client:
        keys = sorted(client.scan_iter(f"{drill.group}:*:owner:*", count=10_000))
        return {key: value for key, value in zip(keys, client.mget(keys), strict=True) if value}


@pytest.mark.fault("the disk under the log is full", must="the worker goes on without its log")
def test_a_worker_that_cannot_write_its_log_goes_on(
    fragile_drill: Drill, private_redis: RedisServer
) -> None:
    drill = fragile_drill
    worker = drill.start(slow=(), member="one")
    worker.batches(10)
    _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    before = worker.text()
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (len(before.encode()), most))
    private_redis.stop()  # of which it would write
    worker.reasons("waiting for Redis")
    private_redis.start()
    until(lambda: worker.readiness() == [], 30, worker.text)
    assert worker.text() == before
    drill.witness.hit("it waited for Redis and went on, and its log says nothing of that")
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most, most))
    drill.full_speed()
    drill.drained()
    assert worker.terminate() == 0
    assert worker.text() != before
    drill.check()


@pytest.mark.fault(
    "a worker's model file is replaced by garbage before it restarts",
    must="it is not ready and says why; the others go on",
)
def test_a_damaged_model_keeps_one_worker_out_and_the_others_go_on(drill: Drill) -> None:
    folder = drill.folder / "model"
    folder.mkdir()
    for suffix in (".json", ".safetensors"):
        shutil.copy(drill.case.manifest.with_suffix(suffix), folder)
    own = {"TOCSIN_FRAUD__MODEL": str(folder / drill.case.manifest.name)}
    drill.pace(0.1)
    other = drill.standby()
    victim = drill.start(slow=(), settings=own)
    victim.batches(5)
    other.go()
    other.batches(3)
    victim.kill()
    weights = folder / drill.case.manifest.with_suffix(".safetensors").name
    weights.write_bytes(b"\x00garbage" * 100)

    again = drill.start(slow=(), settings=own)
    reason = again.reasons(weights.name)
    drill.witness.hit(f"“{reason.replace(str(folder), '…')}” on /readyz")
    drill.pace(0.0)
    drill.drained()
    assert again.running
    assert again.marks() == []
    assert again.terminate() == 0
    assert other.terminate() == 0
    drill.check()

"""The same faults befall a worker that watches cameras."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from redis import Redis

from streams.devstack import KafkaBroker, RedisServer
from streams.errors import RESTART
from streams.schemas import Alert
from streams.settings import Settings
from tests.chaos.table import Witness
from tests.conftest import Stack
from tests.fakes.blobs import PASSING
from tests.passages import (
    BLOBS,
    CAMERAS,
    LISTENING,
    STEP_MS,
    alerts_of,
    caught_up,
    check,
    distinct,
    ended,
    now_ms,
    passages,
    vision_bed,
)
from tests.worker import Bed

pytestmark = pytest.mark.chaos

ONCE = "each thing that happened is told from one start to one end, under the same ids"


def fault(name: str, must: str) -> pytest.MarkDecorator:
    return pytest.mark.fault(f"cameras: {name.removeprefix('cameras ')}", must=must)


@pytest.fixture
def bed(real_stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    made = vision_bed(real_stack.bootstrap, real_stack.redis_url, namespace, tmp_path)
    yield made
    made.close()


@pytest.fixture
def fragile_bed(
    private_kafka: KafkaBroker, private_redis: RedisServer, namespace: str, tmp_path: Path
) -> Iterator[Bed]:
    """A bed whose servers nobody else uses."""
    made = vision_bed(private_kafka.bootstrap, private_redis.url, namespace, tmp_path)
    yield made
    made.close()


def verify(bed: Bed, witness: Witness, count: int, cameras: Sequence[str] = CAMERAS) -> list[Alert]:
    """Fail unless `count` people were told of on each camera as if nothing had happened."""
    told = alerts_of(bed)
    check(told, count, cameras)
    once = distinct(told)
    things = len({alert.id for alert in once})
    witness.found(f"{things} alerts right from start to end, {len(told) - len(once)} repeated")
    return told


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(
            "before-flush",
            marks=[fault("kill -9 before alerts are stored", ONCE), pytest.mark.long],
        ),
        pytest.param("after-flush", marks=fault("kill -9 before alerts are published", ONCE)),
        pytest.param(
            "after-publish",
            marks=[fault("kill -9 before frames are committed", ONCE), pytest.mark.long],
        ),
    ],
)
def test_each_thing_is_told_once_when_the_worker_dies(
    bed: Bed, witness: Witness, place: str
) -> None:
    frames = passages(3, begun_ms=now_ms() - 60_000, cameras=["gate"])
    bed.produce(bed.settings.topics.frames, frames)
    victim = bed.worker("vision", command=(*BLOBS, "--pace", "0.02", "--die-at", f"{place}:3"))
    assert victim.start().wait() == -9
    before = alerts_of(bed)
    assert before != []
    witness.hit("its third flush that held alerts ended it")
    with bed.worker("vision", command=BLOBS) as last:
        last.until_ready()
        caught_up(bed, last)
        pending = [line for line in last.log if "alerts were pending" in line]
        assert last.stop() == 0

    told = alerts_of(bed)
    verify(bed, witness, 3, ["gate"])
    assert pending != []  # of the flush that was under way, or of the one before it
    if place == "after-publish":
        assert len(told) > len(distinct(told))


@fault("kill -9 at any time", ONCE)
def test_each_thing_is_told_once_when_workers_are_killed_at_any_time(
    bed: Bed, witness: Witness
) -> None:
    frames = passages(5, begun_ms=now_ms() - 60_000)
    bed.produce(bed.settings.topics.frames, frames)
    hit = 0
    for pause_s in (0.3, 0.9):
        victim = bed.worker("vision", command=(*BLOBS, "--pace", "0.4")).start()
        victim.until(lambda v=victim: v.metric("tocsin_events_total") > 0, "frames")
        time.sleep(pause_s)
        victim.kill()
        hit += bed.lag(bed.settings.vision.group, bed.settings.topics.frames) > 0
    assert hit == 2, "killed too late to matter"
    witness.hit("2 kills with frames left")
    with bed.worker("vision", command=BLOBS) as last:
        last.until_ready()
        caught_up(bed, last)
        assert last.stop() == 0
    verify(bed, witness, 5)


def left_open(bed: Bed) -> set[str]:
    """Have a worker open an alert of each rule on every camera, and die; return their ids."""
    half = passages(1, begun_ms=now_ms() - 60_000)[: 30 * len(CAMERAS)]
    with bed.worker("vision", command=BLOBS) as worker:
        worker.until_ready()
        bed.produce(bed.settings.topics.frames, half)
        caught_up(bed, worker)
        worker.kill()
    opened = alerts_of(bed)
    assert {alert.status for alert in opened} <= {"new", "update"}
    return {alert.id for alert in opened}


@fault("cameras fall silent, and workers die as they end the alerts", ONCE)
def test_alerts_of_cameras_that_fall_silent_end_once_though_workers_die(
    bed: Bed, witness: Witness
) -> None:
    opened = left_open(bed)
    for death in ("before-flush", "after-flush"):
        victim = bed.worker("vision", command=(*BLOBS, "--die-at", f"{death}:1"), **LISTENING)
        assert victim.start().wait() == -9
    witness.hit("2 workers were ended by the flush of the ends")
    with bed.worker("vision", command=BLOBS, **LISTENING) as last:
        last.until(lambda: ended(bed) == opened, "ends")
        time.sleep(3)  # no more of them, while it goes on listening
        assert any("alerts were pending" in line for line in last.log)
        assert last.metric("tocsin_camera_up") == 0
        assert last.stop() == 0

    told = verify(bed, witness, 1)
    assert {alert.detail.get("cause") for alert in told if alert.status == "end"} == {"closed"}


@fault(
    "Redis is emptied while alerts are open",
    "what was open ends with the cause `state lost`; it goes on at the commit",
)
def test_state_that_is_lost_ends_what_is_open_and_goes_on_at_the_commit(
    bed: Bed, witness: Witness
) -> None:
    begun = now_ms() - 60_000
    topic = bed.settings.topics.frames
    half = passages(1, begun_ms=begun)[: 30 * len(CAMERAS)]
    with bed.worker("vision", command=BLOBS) as worker:
        worker.until_ready()
        bed.produce(topic, half)
        caught_up(bed, worker)
        assert worker.stop() == 0
    opened = {alert.id: alert for alert in alerts_of(bed)}
    assert {alert.status for alert in opened.values()} <= {"new", "update"}
    assert len(opened) == 2 * len(CAMERAS)
    _flush_namespace(bed.settings)

    with bed.worker("vision", command=BLOBS) as worker:
        worker.until_ready()
        bed.produce(topic, passages(1, begun_ms=begun + 60 * STEP_MS))
        caught_up(bed, worker)
        assert any("its state is lost" in line for line in worker.log)
        assert worker.metric("tocsin_events_total") == len(PASSING) * len(CAMERAS)  # no rebuild
        assert worker.stop() == 0

    told = alerts_of(bed)
    lost = [alert for alert in told if alert.detail.get("cause") == "state lost"]
    assert {alert.id: alert.revision for alert in lost} == {
        name: alert.revision + 1 for name, alert in opened.items()
    }
    witness.hit(f"{len(lost)} open alerts ended as lost")
    check([alert for alert in told if alert.id not in opened], 1)


def _flush_namespace(settings: Settings) -> None:
    with Redis.from_url(settings.redis.url) as redis:
        keys = list(redis.scan_iter(f"{settings.vision.group}:*"))
        assert keys
        redis.delete(*keys)


@pytest.mark.long
@fault("the broker and Redis restart, three times each", ONCE)
def test_each_thing_is_told_once_when_the_servers_restart(
    fragile_bed: Bed, private_kafka: KafkaBroker, private_redis: RedisServer, witness: Witness
) -> None:
    bed = fragile_bed
    frames = passages(6, begun_ms=now_ms() - 60_000)
    bed.produce(bed.settings.topics.frames, frames)
    with bed.worker("vision", command=(*BLOBS, "--pace", "0.3")) as worker:
        for number in range(1, 4):
            done = 60 * number
            worker.until(lambda n=done: worker.metric("tocsin_events_total") > n, "frames")
            private_kafka.kill()
            private_kafka.start()
            private_redis.stop()
            worker.until_reason("waiting for")
            private_redis.start()
        assert worker.metric("tocsin_events_total") < len(frames)
        witness.hit("3 kills of the broker and 3 stops of Redis with frames left")
        caught_up(bed, worker)
        assert worker.stop() == 0
    verify(bed, witness, 6)


@fault("inference raises for a moment", ONCE)
def test_each_thing_is_told_once_when_the_network_fails_for_a_while(
    bed: Bed, witness: Witness
) -> None:
    frames = passages(2, begun_ms=now_ms() - 60_000)
    bed.produce(bed.settings.topics.frames, frames)
    with bed.worker("vision", command=(*BLOBS, "--device", "raises:10:3")) as worker:
        worker.until_ready()
        caught_up(bed, worker)
        hits = worker.log.count("fault raises")
        assert hits == 3
        witness.hit(f"{hits} runs of the network failed")
        assert worker.metric("tocsin_dead_letters_total") == 0
        assert worker.stop() == 0
    verify(bed, witness, 2)


@fault("inference hangs", f"the worker ends with status 75; {ONCE}")
def test_each_thing_is_told_once_when_the_network_hangs(bed: Bed, witness: Witness) -> None:
    bed.produce(bed.settings.topics.frames, passages(2, begun_ms=now_ms() - 60_000))
    hanging = (*BLOBS, "--device", "hangs:10:1")
    victim = bed.worker("vision", command=hanging, TOCSIN_DELIVERY__STUCK_AFTER_S="3")
    assert victim.start().wait() == RESTART
    assert "fault hangs" in victim.log
    witness.hit("its 10th run did not return")
    with bed.worker("vision", command=BLOBS) as last:
        last.until_ready()
        caught_up(bed, last)
        assert last.stop() == 0
    verify(bed, witness, 2)

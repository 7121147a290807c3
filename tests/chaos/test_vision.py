"""The same faults befall a worker that watches cameras."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from streams.devstack import KafkaBroker, RedisServer
from streams.errors import RESTART
from streams.schemas import Alert
from streams.settings import Settings
from tests.chaos.proxy import Proxy
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
from tests.worker import Bed, WorkerProcess, headers_of

pytestmark = pytest.mark.chaos

ONCE = "each thing that happened is told from one start to one end, under the same ids"

FENCED = "it is refused when it goes on: it writes nothing and ends with status 75"

DAMAGED_EVERY = 25


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
    after = [alert for alert in told if alert.id not in opened]
    check(after, 1)
    things = len({alert.id for alert in after})
    witness.found(f"{len(lost)} alerts ended as lost, {things} more right from start to end")


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


@pytest.mark.long
@fault("SIGSTOP for longer than the session", f"{FENCED}; {ONCE}")
def test_a_worker_that_was_thought_dead_is_fenced_and_tells_nothing(
    bed: Bed, witness: Witness
) -> None:
    bed.produce(bed.settings.topics.frames, passages(3, begun_ms=now_ms() - 60_000))
    zombie = bed.worker("vision", command=(*BLOBS, "--pace", "0.5")).start()
    zombie.until(lambda: zombie.metric("tocsin_alerts_total") > 0, "alerts")
    zombie.until(lambda: inferring(zombie), "a batch")
    os.kill(zombie.pid, signal.SIGSTOP)
    assert inferring(zombie), "stopped between two batches"
    assert bed.lag(bed.settings.vision.group, bed.settings.topics.frames) > 0
    with bed.worker("vision", command=BLOBS) as heir:
        heir.until_ready()
        caught_up(bed, heir)
        before, told = state_of(bed.settings), ids_of(alerts_of(bed))

        os.kill(zombie.pid, signal.SIGCONT)
        assert zombie.wait() == RESTART
        assert any("has another owner" in line for line in zombie.log)
        witness.hit("stopped within a batch; its next flush was refused")
        assert state_of(bed.settings) == before
        assert ids_of(alerts_of(bed)) == told, "it told something new"
        assert heir.stop() == 0
    verify(bed, witness, 3)


@pytest.mark.long
@fault("a worker joins, and leaves, while frames come", ONCE)
def test_each_thing_is_told_once_when_a_second_worker_comes_and_goes(
    bed: Bed, witness: Witness
) -> None:
    topic, group = bed.settings.topics.frames, bed.settings.vision.group
    frames = passages(6, begun_ms=now_ms() - 60_000)
    third = len(frames) // 3
    slow = (*BLOBS, "--pace", "0.2")
    patient = {"TOCSIN_KAFKA__REBALANCE_TIMEOUT_S": "10"}  # until slow ones have given back
    with (
        bed.worker("vision", command=slow, **patient) as first,
        bed.worker("vision", command=slow, **patient) as second,
    ):
        bed.produce(topic, frames[:third])
        second.until(lambda: assigned(second) != set(), "partitions")
        first.until(lambda: assigned(first) and not assigned(first) & assigned(second), "a share")
        bed.produce(topic, frames[third : 2 * third])
        for worker in (first, second):
            done = worker.metric("tocsin_events_total")
            worker.until(lambda w=worker, n=done: w.metric("tocsin_events_total") > n, "frames")
        assert second.stop() == 0
        assert bed.lag(group, topic) > 0, "it left when everything was done"
        witness.hit("both had partitions and frames, and one left with frames left")
        first.until(lambda: len(assigned(first)) == 4, "all partitions")
        bed.produce(topic, frames[2 * third :])
        caught_up(bed, first)
        assert first.stop() == 0
    verify(bed, witness, 6)


@pytest.mark.long
@fault(
    "frames that cannot be decoded come among the others, and the worker is killed",
    f"each of them is buried with the reason; {ONCE}",
)
def test_each_thing_is_told_once_though_frames_among_them_are_damaged(
    bed: Bed, witness: Witness
) -> None:
    topic, group = bed.settings.topics.frames, bed.settings.vision.group
    frames = passages(4, begun_ms=now_ms() - 60_000)
    places = range(len(frames) - 1, 0, -DAMAGED_EVERY)
    for at in places:
        frames.insert(at, replace(frames[at], value=(frames[at].value or b"")[:-50]))
    bed.produce(topic, frames)
    victim = bed.worker("vision", command=(*BLOBS, "--pace", "0.3")).start()
    victim.until(lambda: victim.metric("tocsin_dead_letters_total") > 0, "dead letters")
    victim.kill()
    assert bed.lag(group, topic) > 0
    with bed.worker("vision", command=BLOBS) as last:
        last.until_ready()
        caught_up(bed, last)
        assert last.stop() == 0
    letters = bed.read(f"{topic}{bed.settings.topics.dead_suffix}")
    buried = {(own["tocsin-partition"], own["tocsin-offset"]) for own in map(headers_of, letters)}
    assert len(buried) == len(places)
    assert all(b"damaged" in (headers_of(letter)["tocsin-reason"] or b"") for letter in letters)
    witness.hit(f"{len(buried)} frames were damaged, and the worker was killed with frames left")
    verify(bed, witness, 4)


@pytest.mark.long
@fault("Redis is slow: 0.3 s an answer", f"slower, and nothing else; {ONCE}")
def test_each_thing_is_told_once_when_redis_is_slow(
    bed: Bed, redis_server: RedisServer, witness: Witness
) -> None:
    topic, group = bed.settings.topics.frames, bed.settings.vision.group
    port = redis_server.url.rpartition(":")[2].partition("/")[0]
    bed.produce(topic, passages(3, begun_ms=now_ms() - 60_000))
    with Proxy(int(port)) as proxy:
        url = redis_server.url.replace(f":{port}/", f":{proxy.port}/")
        proxy.delay_s = 0.3
        with bed.worker("vision", command=BLOBS, TOCSIN_REDIS__URL=url) as worker:
            worker.until(lambda: proxy.delayed >= 30, "late answers")
            assert bed.lag(group, topic) > 0
            witness.hit(f"{proxy.delayed} answers were late")
            proxy.delay_s = 0.0
            caught_up(bed, worker)
            assert worker.stop() == 0
    verify(bed, witness, 3)


def inferring(worker: WorkerProcess) -> bool:
    """Whether a batch of a slow worker is under way."""
    marks = [line for line in worker.log if line in {"begin", "end"}]
    return marks[-1:] == ["begin"]


def assigned(worker: WorkerProcess) -> set[str]:
    """The partitions that it was last assigned."""
    found = re.findall(r"assigned partitions \[(.*?)\]", "\n".join(worker.log))
    return set(found[-1].split(", ")) - {""} if found else set()


def ids_of(alerts: Sequence[Alert]) -> set[str]:
    return {alert.event_id for alert in alerts}


def state_of(settings: Settings) -> dict[bytes, object]:
    """Everything in the namespace, whatever its type."""
    with Redis.from_url(settings.redis.url) as redis:
        keys = sorted(redis.scan_iter(f"{settings.vision.group}:*"))
        return {key: redis.dump(key) for key in keys}

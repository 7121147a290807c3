"""The video path with real workers: frames in, object alerts out, killed or not."""

from __future__ import annotations

import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from redis import Redis

from models.vision.images import decode
from streams.alerts.envelope import CLOUD_EVENT_HEADERS
from streams.frames import FrameHeaders
from streams.schemas import Alert, decode_alert
from streams.settings import Settings
from streams.state.pictures import open_pictures
from tests.conftest import ROOT, Stack
from tests.fakes.blobs import empty, walk
from tests.worker import Bed, Produced, WorkerProcess, bed_on, headers_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BLOBS = (sys.executable, str(ROOT / "tests" / "chaos" / "vision_worker.py"))
STEP_MS = 100
CAMERAS = ("gate", "door", "yard")

RULES = """
[zones]
picture = [[0, 0], [1, 0], [1, 1], [0, 1]]
right = [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]
[[rule]]
name = "anyone"
kind = "enter"
zone = "picture"
classes = ["person"]
gone_s = 0.5
[[rule]]
name = "right-half"
kind = "enter"
zone = "right"
classes = ["person"]
gone_s = 0.5
"""

PASSING = [*walk(45), *empty(8)]
"""One person walks through: for each rule an alert that ends."""


def passages(count: int, *, begun_ms: int, cameras: Sequence[str] = CAMERAS) -> list[Produced]:
    """`count` people, one after another, before each camera."""
    return [
        shot(value, camera, number, begun_ms + STEP_MS * number)
        for number, value in enumerate(PASSING * count)
        for camera in cameras
    ]


def shot(value: bytes | None, camera: str, seq: int, captured_at: int, **headers: str) -> Produced:
    fields = FrameHeaders(camera_id=camera, captured_at=captured_at, seq=seq, **headers)  # type: ignore[arg-type]
    return Produced(value, camera.encode(), fields.to_headers())  # type: ignore[arg-type]


def alerts_of(bed: Bed) -> list[Alert]:
    return [decode_alert(record.value) for record in bed.read(bed.settings.topics.alerts)]


def distinct(alerts: Sequence[Alert]) -> list[Alert]:
    """As a consumer keeps them: by event id, the first."""
    return list({alert.event_id: alert for alert in reversed(alerts)}.values())


def check(alerts: Sequence[Alert], count: int, cameras: Sequence[str] = CAMERAS) -> None:
    """Each thing that happened was told, from one `new` to one `end`, and nothing else was."""
    once = distinct(alerts)
    by_id: dict[str, list[Alert]] = {}
    for alert in once:
        by_id.setdefault(alert.id, []).append(alert)
    told = Counter((own[0].entity, own[0].detail["rule"]) for own in by_id.values())
    assert told == {(c, rule): count for c in cameras for rule in ("anyone", "right-half")}
    for own in by_id.values():
        ordered = sorted(own, key=lambda alert: alert.revision)
        assert [alert.revision for alert in ordered] == list(range(len(ordered)))
        statuses = [alert.status for alert in ordered]
        assert statuses[0] == "new"
        assert statuses[-1] == "end"
        assert set(statuses[1:-1]) <= {"update"}


def caught_up(bed: Bed, worker: WorkerProcess) -> None:
    group, topic = bed.settings.vision.group, bed.settings.topics.frames
    worker.until(lambda: bed.lag(group, topic) == 0, "commit of everything")


def now_ms() -> int:
    return round(time.time() * 1000)


@pytest.fixture
def bed(stack: Stack, tmp_path: Path) -> Iterator[Bed]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    made = bed_on(stack.bootstrap, stack.redis_url, name, tmp_path)
    vision = made.settings.vision.model_copy(
        update={
            "policy": "keep-all",
            "rules": rules,
            "threads": 1,
            "max_batch": 8,
            "silence_s": 600.0,  # however slow the machine is
        }
    )
    made.settings = made.settings.model_copy(update={"vision": vision})
    made.create_topics()
    yield made
    made.close()


def test_frames_become_alerts_with_pictures_and_bad_ones_dead_letters(bed: Bed) -> None:
    begun = now_ms() - 60_000
    frames = passages(1, begun_ms=begun)
    bad = [
        Produced(b"no picture", b"gate", [("captured_at", b"%d" % begun), ("own", b"\x00")]),
        Produced(PASSING[0], b"gate", []),
        shot(PASSING[20][:-50], "yard", 9, begun + 6_000),
    ]
    with bed.worker("vision", command=BLOBS) as worker:
        worker.until_ready()
        bed.produce(bed.settings.topics.frames, [*frames, *bad])
        caught_up(bed, worker)
        assert worker.metric("tocsin_events_total") == len(frames)
        assert worker.metric("tocsin_dead_letters_total") == len(bad)
        assert worker.metric("tocsin_camera_up") == len(CAMERAS)
        worker.until(lambda: worker.metric("tocsin_alerts_total") > 0, "alerts")
        assert worker.stop() == 0

    told = alerts_of(bed)
    check(told, 1)
    assert len(told) == len(distinct(told))
    for record in bed.read(bed.settings.topics.alerts):
        alert = decode_alert(record.value)
        assert record.key == alert.entity.encode()
        headers = headers_of(record)
        assert list(headers) == list(CLOUD_EVENT_HEADERS)
        assert headers["ce_id"] == alert.event_id.encode()
        assert headers["ce_type"] == f"tocsin.alert.object.{alert.status}".encode()
    pictures = open_pictures(bed.settings)
    assert pictures is not None
    for alert in told:
        assert alert.snapshot is not None
        data = pictures.get(alert.snapshot)
        assert data is not None
        assert decode(data).shape == (120, 160, 3)
    pictures.close()

    letters = bed.read(f"{bed.settings.topics.frames}.dead")
    reasons = {headers_of(letter)["tocsin-reason"] for letter in letters}
    assert {(letter.key, letter.value) for letter in letters} == {
        (record.key, record.value) for record in bad
    }
    assert sorted(str(reason)[2:9] for reason in reasons) == ["damaged", "headers", "neither"]


@pytest.mark.chaos
@pytest.mark.parametrize("place", ["before-flush", "after-flush", "after-publish"])
def test_each_thing_is_told_once_when_the_worker_dies(bed: Bed, place: str) -> None:
    frames = passages(3, begun_ms=now_ms() - 60_000, cameras=["gate"])
    bed.produce(bed.settings.topics.frames, frames)
    victim = bed.worker("vision", command=(*BLOBS, "--pace", "0.02", "--die-at", f"{place}:3"))
    assert victim.start().wait() == -9
    before = alerts_of(bed)
    assert before != []
    with bed.worker("vision", command=BLOBS) as last:
        last.until_ready()
        caught_up(bed, last)
        pending = [line for line in last.log if "alerts were pending" in line]
        assert last.stop() == 0

    told = alerts_of(bed)
    check(told, 3, ["gate"])
    assert pending != []  # of the flush that was under way, or of the one before it
    if place == "after-publish":
        assert len(told) > len(distinct(told))


@pytest.mark.chaos
def test_each_thing_is_told_once_when_workers_are_killed_at_any_time(bed: Bed) -> None:
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
    with bed.worker("vision", command=BLOBS) as last:
        last.until_ready()
        caught_up(bed, last)
        assert last.stop() == 0
    check(alerts_of(bed), 5)


def test_state_that_is_lost_ends_what_is_open_and_goes_on_at_the_commit(bed: Bed) -> None:
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
    check([alert for alert in told if alert.id not in opened], 1)


LISTENING = {"TOCSIN_VISION__SILENCE_S": "1"}


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


def ended(bed: Bed) -> set[str]:
    time.sleep(0.5)  # reading them all takes from the worker that is waited for
    return {alert.id for alert in alerts_of(bed) if alert.status == "end"}


@pytest.mark.chaos
def test_alerts_of_cameras_that_fall_silent_end_once_though_workers_die(bed: Bed) -> None:
    opened = left_open(bed)
    for death in ("before-flush", "after-flush"):
        victim = bed.worker("vision", command=(*BLOBS, "--die-at", f"{death}:1"), **LISTENING)
        assert victim.start().wait() == -9
    with bed.worker("vision", command=BLOBS, **LISTENING) as last:
        last.until(lambda: ended(bed) == opened, "ends")
        time.sleep(3)  # no more of them, while it goes on listening
        assert any("alerts were pending" in line for line in last.log)
        assert last.metric("tocsin_camera_up") == 0
        assert last.stop() == 0

    told = alerts_of(bed)
    check(told, 1)
    assert {alert.detail.get("cause") for alert in told if alert.status == "end"} == {"closed"}


def test_alerts_of_silent_cameras_end_once_while_their_partitions_move(bed: Bed) -> None:
    half = passages(1, begun_ms=now_ms() - 60_000)[: 30 * len(CAMERAS)]
    with bed.worker("vision", command=BLOBS) as first:
        first.until_ready()
        bed.produce(bed.settings.topics.frames, half)
        caught_up(bed, first)
        opened = {alert.id for alert in alerts_of(bed)}
        with bed.worker("vision", command=BLOBS, **LISTENING) as second:
            second.until(lambda: ended(bed), "ends in the partitions that it took over")
            assert ended(bed) <= opened
            assert first.stop() == 0
            second.until(lambda: ended(bed) == opened, "ends")
            # They come back: another thing happens.
            bed.produce(bed.settings.topics.frames, passages(1, begun_ms=now_ms() - 60_000))
            caught_up(bed, second)
            assert second.stop() == 0
    check(alerts_of(bed), 2)


def test_fresh_frames_come_first_when_a_worker_is_behind(bed: Bed) -> None:
    vision = bed.settings.vision.model_copy(update={"policy": "freshest", "max_age_s": 5.0})
    bed.settings = bed.settings.model_copy(update={"vision": vision})
    old = passages(2, begun_ms=now_ms() - 600_000, cameras=["gate"])
    bed.produce(bed.settings.topics.frames, old)
    with bed.worker("vision", command=BLOBS) as worker:
        worker.until_ready()
        caught_up(bed, worker)
        fresh = passages(1, begun_ms=now_ms() - len(PASSING) * STEP_MS, cameras=["door"])
        fresh = [record for record in fresh if record.value is not None][-20:]
        bed.produce(bed.settings.topics.frames, fresh)
        caught_up(bed, worker)
        assert worker.metric("tocsin_events_total") == len(old) + len(fresh)
        skipped = [
            line
            for line in worker.get("/metrics")[1].splitlines()
            if line.startswith('tocsin_camera_frames_total{camera="gate",fate="stale"}')
        ]
        assert float(skipped[0].split()[-1]) == len(old)
        assert worker.stop() == 0
    assert {alert.entity for alert in alerts_of(bed)} == {"door"}


def _flush_namespace(settings: Settings) -> None:
    with Redis.from_url(settings.redis.url) as redis:
        keys = list(redis.scan_iter(f"{settings.vision.group}:*"))
        assert keys
        redis.delete(*keys)


def test_a_worker_without_weights_says_what_to_do(bed: Bed) -> None:
    bed.settings = bed.settings.model_copy(
        update={
            "vision": bed.settings.vision.model_copy(update={"model": "yolox-nano"}),
            "models": bed.settings.models.model_copy(update={"cache_dir": bed.folder}),
        }
    )
    with bed.worker("vision") as worker:
        worker.until_reason("tocsin models pull yolox-nano")
        assert worker.stop() == 0

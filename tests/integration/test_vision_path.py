"""The video path with real workers: frames in, object alerts out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.vision.images import decode
from streams.alerts.envelope import CLOUD_EVENT_HEADERS
from streams.schemas import decode_alert
from streams.state.pictures import open_pictures
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
    shot,
    vision_bed,
)
from tests.worker import Bed, Produced, headers_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture
def bed(stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    made = vision_bed(stack.bootstrap, stack.redis_url, namespace, tmp_path)
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

"""The commands around video on an embedded broker: produce, show an alert, refuse."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from subprocess import run

import cv2
import pytest
from msgspec.structs import replace

from models.vision.images import decode
from streams.admin import connect
from streams.connection import start_producer
from streams.devstack import EmbeddedBroker, EmbeddedRedis
from streams.frames import parse_headers
from streams.producers.camera import Camera, Shape
from streams.producers.sources import Source
from streams.producers.video import Until, send_video
from streams.reading import read_topic
from streams.schemas import encode
from streams.settings import Settings, load_settings
from streams.state.pictures import CROP, open_pictures
from streams.topics import topic_table
from tests.dashboard import an_object
from tests.fakes.blobs import street
from tests.fakes.pictures import jpeg
from tests.functional.processes import clean_environment

pytestmark = pytest.mark.integration

TOCSIN = [sys.executable, "-m", "streams.cli"]


@pytest.fixture
def settings(
    embedded_broker: EmbeddedBroker, embedded_redis: EmbeddedRedis, namespace: str
) -> Settings:
    made = load_settings(
        kafka={"bootstrap_servers": embedded_broker.bootstrap},
        redis={"url": embedded_redis.url},
        topics={"frames": f"{namespace}-frames", "alerts": f"{namespace}-alerts"},
        vision={"group": namespace},
    )
    with connect(made.kafka) as cluster:
        cluster.ensure(topic_table(made))
    return made


def tocsin(settings: Settings, folder: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    environment = clean_environment(
        folder,
        TOCSIN_KAFKA__BOOTSTRAP_SERVERS=settings.kafka.bootstrap_servers,
        TOCSIN_REDIS__URL=settings.redis.url,
        TOCSIN_TOPICS__FRAMES=settings.topics.frames,
        TOCSIN_TOPICS__ALERTS=settings.topics.alerts,
        TOCSIN_VISION__GROUP=settings.vision.group,
        **more,
    )
    done = run(
        [*TOCSIN, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def film(path: Path, frames: int) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 120))
    for number in range(frames):
        writer.write(street(4 * number))
    writer.release()


def frames_on(settings: Settings) -> list[object]:
    async def read() -> list[object]:
        batches = read_topic(
            settings.kafka, settings.topics.frames, from_beginning=True, follow=False
        )
        return [record async for batch in batches for record in batch]

    return asyncio.run(read())


def test_two_cameras_are_sent_each_in_order_with_its_headers(
    settings: Settings, tmp_path: Path
) -> None:
    film(tmp_path / "a.avi", 12)
    film(tmp_path / "b.avi", 7)
    code, out, err = tocsin(
        settings,
        tmp_path,
        *("produce", "video", "--camera", "gate=a.avi", "--camera", "door=b.avi"),
        *("--flat-out", "--size", "80x60"),
    )
    assert (code, err) == (0, "")
    assert out.startswith("sent 19 frames of 2 cameras in ")
    assert out.endswith("dropped 0, refused 0\n")
    seqs: dict[str, list[int | None]] = {}
    for record in frames_on(settings):
        headers = parse_headers(record.key, record.headers)  # type: ignore[attr-defined]
        assert (headers.width, headers.height, headers.source) == (80, 60, "file")
        assert decode(record.value).shape == (60, 80, 3)  # type: ignore[attr-defined]
        seqs.setdefault(headers.camera_id, []).append(headers.seq)
    assert seqs == {"gate": list(range(12)), "door": list(range(7))}


def test_a_frame_larger_than_the_topic_takes_is_refused(settings: Settings, tmp_path: Path) -> None:
    film(tmp_path / "a.avi", 3)
    code, _, err = tocsin(
        settings,
        tmp_path,
        *("produce", "video", "a.avi", "--flat-out"),
        TOCSIN_VISION__MAX_FRAME_BYTES="1024",
    )
    assert code == 1
    assert err.startswith("error: camera camera-1: a frame of ")
    assert err.endswith("larger than vision.max_frame_bytes, 1024: lower --size or --quality\n")
    assert frames_on(settings) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.avi"], "no camera 'nowhere.avi'"),
        (["sim", "--camera", "a=sim"], "not both"),
        (["sim", "--loop", "--flat-out"], "--loop has no last picture"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    settings: Settings, tmp_path: Path, arguments: list[str], said: str
) -> None:
    code, _, err = tocsin(settings, tmp_path, "produce", "video", *arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_an_object_alert_is_shown_and_its_picture_saved(settings: Settings, tmp_path: Path) -> None:
    pictures = open_pictures(settings)
    assert pictures is not None
    reference = pictures.put("one", jpeg())
    pictures.put("one" + CROP, jpeg(32, 32))
    pictures.close()
    told = [
        replace(an_object(7, revision, status=status), snapshot=reference)
        for revision, status in enumerate(("new", "update", "end"))
    ]
    bare, lost = an_object(8), replace(an_object(9), snapshot=f"{reference}-that-expired")

    async def put() -> None:
        producer = await start_producer(settings.kafka)
        for value in (*map(encode, (*told, bare, lost)), b"no alert"):
            await producer.send_and_wait(settings.topics.alerts, value, b"yard")
        await producer.stop()

    asyncio.run(put())
    code, out, err = tocsin(settings, tmp_path, "alerts", "show", bare.id)
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(encode(bare))

    code, out, err = tocsin(settings, tmp_path, "alerts", "show", told[0].id, "--save", "a.jpg")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(encode(told[2]))
    assert (tmp_path / "a.jpg").read_bytes() == jpeg()

    show = ("alerts", "show", told[1].event_id, "--save", "b.jpg", "--crop")
    code, out, _ = tocsin(settings, tmp_path, *show)
    assert json.loads(out) == json.loads(encode(told[1]))
    assert (tmp_path / "b.jpg").read_bytes() == jpeg(32, 32)

    for alert, said in ((bare, "has no picture"), (lost, "is gone: vision.snapshot_ttl_h")):
        code, _, err = tocsin(settings, tmp_path, "alerts", "show", alert.id, "--save", "c.jpg")
        assert code == 1
        assert said in err
        assert err.count("\n") == 1
    assert not (tmp_path / "c.jpg").exists()

    code, _, err = tocsin(settings, tmp_path, "alerts", "show", "nobody")
    assert code == 1
    assert err.startswith("error: no alert 'nobody' on topic")


def test_no_camera_goes_on_when_the_producer_is_interrupted(settings: Settings) -> None:
    """A thread that draws while Python ends aborts the process."""

    async def interrupted() -> None:
        cameras = {f"c{number}": Source("simulated", str(number)) for number in range(3)}
        sending = asyncio.ensure_future(send_video(settings, cameras, Shape(), until=Until()))
        await asyncio.sleep(1.5)
        threads = [one for one in threading.enumerate() if isinstance(one, Camera)]
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert len(threads) == 3
        assert not any(one.is_alive() for one in threads)

    asyncio.run(interrupted())

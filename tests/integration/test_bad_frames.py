"""A real vision worker among bad frames: each has its fate, and the good ones beside it theirs."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.vision.images import encode
from streams.frames import FrameHeaders
from streams.schemas import DeadLetter
from tests.conftest import Stack
from tests.fakes import pictures
from tests.fakes.blobs import street
from tests.fakes.pictures import jpeg, png
from tests.fakes.records import now_ms
from tests.passages import BLOBS
from tests.worker import Bed, Produced, WorkerProcess, bed_on

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def huge() -> bytes:
    """108 megapixels that are really there, in a file of less than 2 MB."""
    return encode(np.full((9_000, 12_000, 3), 90, np.uint8), quality=50)


def gif() -> bytes:
    return b"GIF89a\x40\0\x30\0" + bytes(200)


def webp() -> bytes:
    return cv2.imencode(".webp", street())[1].tobytes()


BAD: dict[str, tuple[bytes | None, str]] = {
    "empty": (b"", "empty"),
    "null": (None, "empty"),
    "text": (b"hello", "neither JPEG nor PNG"),
    "gif": (gif(), "neither JPEG nor PNG"),
    "webp": (webp(), "neither JPEG nor PNG"),
    "truncated-jpeg": (encode(street())[:-50], "damaged"),
    "truncated-png": (png()[:-50], "damaged"),
    "header-alone": (jpeg()[:10], ""),
    "corrupt-png": (png()[:100] + b"!" + png()[101:], "damaged"),
    "cmyk": (pictures.jpeg_claiming(colours=4), "colours"),
    "12-bits": (pictures.jpeg_claiming(bits=12), "12"),
    "animated": (pictures.animated_png(), "animated"),
    "1x1": (png(1, 1), "too few"),
    "huge": (huge(), "vision.max_pixels"),
    "bomb": (pictures.bomb_png(), "vision.max_pixels"),
    "scans": (pictures.jpeg_of_many_scans(), "scans"),
    "bytes": (jpeg() + bytes(4 * 1024 * 1024), "vision.max_frame_bytes"),
}
GOOD: dict[str, bytes] = {
    "16-bits": png(dtype=np.uint16),
    "grey": pictures.grey_png(),
    "rotated-jpeg": pictures.rotated_jpeg(),
    "rotated-png": pictures.rotated_png(),
    "small": jpeg(64, 48),
    "wide": jpeg(640, 48),
    "large": jpeg(1920, 1080),
}


def wrong_headers(begun: int) -> dict[str, tuple[list[tuple[str, bytes | None]], str]]:
    return {
        "no-time": ([], "captured_at"),
        "odd-time": ([("captured_at", b"yesterday")], "captured_at"),
        "future": ([("captured_at", b"%d" % (begun + 3_600_000))], "ahead of the clock"),
        "twice": ([("captured_at", b"%d" % begun)] * 2, "captured_at is there twice"),
        "size": (
            [("captured_at", b"%d" % begun), ("width", b"640"), ("height", b"48")],
            "the headers say 640",
        ),
        "other-camera": (
            [("captured_at", b"%d" % begun), ("camera_id", b"gate")],
            "header camera_id 'gate'",
        ),
        "down": ([("captured_at", b"%d" % begun), ("state", b"down")], "down"),
    }


def shot(camera: str, value: bytes | None, at: int) -> Produced:
    headers = FrameHeaders(camera_id=camera, captured_at=at).to_headers()
    return Produced(value, camera.encode(), [*headers, ("own", b"\x00\xff")])


@pytest.fixture
def bed(stack: Stack, tmp_path: Path) -> Iterator[Bed]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    made = bed_on(stack.bootstrap, stack.redis_url, name, tmp_path)
    vision = made.settings.vision.model_copy(
        update={"threads": 1, "max_batch": 8, "motion_gate": False, "max_age_s": 600.0}
    )
    made.settings = made.settings.model_copy(update={"vision": vision})
    made.create_topics(max_message_bytes=str(12 * 1024 * 1024))
    yield made
    made.close()


def by_fate(worker: WorkerProcess, camera: str) -> dict[str, int]:
    prefix = f'tocsin_camera_frames_total{{camera="{camera}",fate="'
    lines = worker.get("/metrics")[1].splitlines()
    found = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    return {line.split('"')[0]: int(float(line.split()[-1])) for line in found}


def test_every_bad_frame_is_buried_as_it_came_and_every_other_one_has_its_fate(bed: Bed) -> None:
    topic, begun = bed.settings.topics.frames, now_ms() - 30_000
    wrong = wrong_headers(begun)
    bad = {name: shot(name, value, begun) for name, (value, _) in BAD.items()}
    bad |= {name: Produced(jpeg(), name.encode(), headers) for name, (headers, _) in wrong.items()}
    reasons = {name: reason for name, (_, reason) in (BAD | wrong).items()}
    mixed = [shot("mixed", v, begun + 100 * i) for i, v in enumerate(GOOD.values())]
    late = [shot("late", jpeg(), begun + at) for at in (1_000, 500, 0, 1_100)]
    back = [shot("back", jpeg(), begun + at) for at in (0, -3_600_000, -3_599_900)]
    fast = [shot("fast", jpeg(), begun + 2 * i) for i in range(500)]
    records = [*bad.values(), *mixed, *late, *back, *fast]

    with bed.worker("vision", command=BLOBS) as worker:
        worker.until_ready()
        bed.produce(topic, records)
        worker.until(
            lambda: worker.metric("tocsin_frames_total") == len(records), "a fate for every frame"
        )
        assert worker.metric("tocsin_dead_letters_total") == len(bad)
        assert worker.metric("tocsin_batch_failures_total") == 0
        assert by_fate(worker, "mixed") == {"detected": len(GOOD)}
        assert by_fate(worker, "late") == {"detected": 2, "late": 2}
        assert by_fate(worker, "back") == {"detected": 1, "stale": 2}
        sampled = Counter(by_fate(worker, "fast"))
        assert sampled["detected"] + sampled["too often"] == 500
        assert 25 <= sampled["detected"] <= 40  # one second of it, at vision.max_fps
        assert len(worker.log) < 20
        assert worker.stop() == 0

    letters = {
        (letter.key or b"").decode(): letter
        for letter in (
            DeadLetter.from_record(record.key, record.value, tuple(record.headers))
            for record in bed.read(f"{topic}.dead")
        )
    }
    assert letters.keys() == bad.keys()
    for name, record in bad.items():
        letter = letters[name]
        assert letter.value == record.value, name
        assert letter.headers == tuple(record.headers), name
        assert reasons[name] in letter.reason, f"{name}: {letter.reason}"

"""The fate of every kind of frame, good and bad, on its way to the network."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from models.vision.images import Picture, encode
from streams.frames import FrameHeaders
from streams.pipeline.batch import Batch
from streams.pipeline.frames import (
    CameraPast,
    Frame,
    FrameIntake,
    FrameLimits,
    Intake,
    MotionRules,
)
from streams.pipeline.freshness import FrameRules
from tests.fakes import pictures
from tests.fakes.pictures import frame, jpeg, png
from tests.fakes.records import FakeRecord

NOW = 1_700_000_000_000


class Bed:
    """An intake whose clock the test sets."""

    def __init__(
        self, *, keep_all: bool = False, gate: bool = True, refusal: str | None = None
    ) -> None:
        self.now = NOW
        self.pasts: dict[tuple[str, int], CameraPast] = {}
        self.intake = FrameIntake(
            limits=FrameLimits(100_000, 2_000_000, 60_000, refusal),
            rules=FrameRules(keep_all, 2000, 30),
            motion=MotionRules(enabled=gate, threshold=0.02, heartbeat_ms=2000),
            size=(416, 416),
            threads=2,
            past=lambda camera, partition: self.pasts.setdefault((camera, partition), CameraPast()),
            clock=lambda: self.now,
        )

    def take(self, *records: FakeRecord, **batch: Any) -> Intake:
        partitions = np.zeros(len(records), np.int32)
        return self.intake.take(Batch(list(records), partitions, 1, **batch))


def shot(offset: int, value: bytes | None = None, at: int | None = None, **headers: Any) -> Any:
    """A frame captured `at` NOW + 100 ms x offset unless told."""
    captured = NOW + 100 * offset if at is None else at
    return frame(offset, jpeg() if value is None else value, captured_at=captured, **headers)


def test_an_empty_batch_passes() -> None:
    assert Bed().take() == Intake()


def test_a_good_frame_is_decoded() -> None:
    (taken,) = Bed().take(shot(3, width=64, height=48)).frames
    assert isinstance(taken, Frame)
    assert (taken.camera, taken.offset, taken.place, taken.shape) == ("gate", 3, 0, (48, 64))
    assert taken.picture is not None
    assert taken.picture.shape == (48, 64, 3)
    assert not taken.is_still


BAD = {
    "tombstone": (shot(0, b""), "empty"),
    "truncated": (shot(0, jpeg()[:-30], NOW + 150), "damaged"),
    "corrupt": (shot(0, png()[:100] + b"!" + png()[101:], NOW + 150), "damaged"),
    "no picture": (shot(0, b"hello"), "neither JPEG nor PNG"),
    "cmyk": (shot(0, pictures.jpeg_claiming(colours=4)), "colours"),
    "animated": (shot(0, pictures.animated_png()), "animated"),
    "one pixel": (shot(0, png(1, 1)), "too few"),
    "100 megapixels": (
        shot(0, pictures.jpeg_claiming(width=12_000, height=9_000)),
        "vision.max_pixels",
    ),
    "png bomb": (shot(0, pictures.bomb_png()), "vision.max_pixels"),
    "too many bytes": (shot(0, jpeg() + bytes(100_000)), "vision.max_frame_bytes"),
    "another size than the headers say": (shot(0, width=640, height=48), "the headers say 640"),
    "from the future": (shot(0, at=NOW + 60_001), "60 s ahead of the clock"),
    "without a time": (FakeRecord(0, jpeg(), b"gate"), "captured_at"),
    "of nobody": (FakeRecord(0, jpeg(), None, [("captured_at", b"1")]), "camera_id"),
    "a picture of a camera that is down": (shot(0, state="down"), "down"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_a_bad_frame_is_rejected_and_its_neighbours_are_not(name: str) -> None:
    record, reason = BAD[name]
    taken = Bed(gate=False).take(shot(1), record, shot(2))
    assert [kept.place for kept in taken.frames] == [0, 2]
    (bad,) = taken.rejected
    assert bad.index == 1
    assert reason in bad.reason


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (png(dtype=np.uint16), (48, 64)),
        (pictures.grey_png(), (48, 64)),
        (pictures.rotated_jpeg(), (64, 48)),
        (pictures.rotated_png(), (64, 48)),
    ],
    ids=["16 bits", "grey", "rotated jpeg", "rotated png"],
)
def test_an_unusual_picture_becomes_upright_bgr_bytes(value: bytes, shape: tuple[int, int]) -> None:
    # Headers give the size as stored, rotated or not.
    (taken,) = Bed().take(shot(0, value, width=64, height=48)).frames
    assert taken.picture is not None
    assert taken.picture.shape == (*shape, 3)
    assert taken.picture.dtype == np.uint8
    assert taken.shape == shape


def test_a_large_picture_is_decoded_small_and_knows_its_size() -> None:
    (taken,) = Bed().take(shot(0, jpeg(1664, 900))).frames
    assert taken.picture is not None
    assert taken.picture.shape == (225, 416, 3)
    assert taken.shape == (900, 1664)


def test_sizes_may_change_from_frame_to_frame() -> None:
    taken = Bed().take(shot(0), shot(1, jpeg(320, 240)), shot(2, png(100, 200)))
    assert [kept.shape for kept in taken.frames] == [(48, 64), (240, 320), (200, 100)]


def test_time_that_goes_backwards_is_skipped_and_a_clock_set_back_starts_anew() -> None:
    bed = Bed(gate=False, keep_all=True)
    taken = bed.take(shot(0), shot(1, at=NOW - 50), shot(2, at=NOW - 3_600_000), shot(3))
    assert taken.skipped == [("gate", "late")]
    assert [kept.offset for kept in taken.frames] == [0, 2, 3]
    assert [kept.broken for kept in taken.frames] == [
        None,
        "the camera's clock was set back",
        "no picture came for a while",
    ]


def test_stale_frames_are_skipped_oldest_first_and_counted_for_their_camera() -> None:
    bed = Bed(gate=False)
    bed.now = NOW + 4000
    records = [shot(i) for i in range(41)]
    taken = bed.take(*records, shot(41, at=NOW, camera_id="door"))
    assert Counter(taken.skipped) == {("gate", "stale"): 30, ("door", "stale"): 1}
    assert [kept.offset for kept in taken.frames] == list(range(30, 41))


def test_a_camera_of_500_frames_a_second_leaves_room_for_the_others() -> None:
    bed = Bed(gate=False)
    fast = [shot(i, at=NOW + 2 * i) for i in range(500)]
    slow = [shot(500 + i, at=NOW + 200 * i, camera_id="door") for i in range(5)]
    taken = bed.take(*fast, *slow)
    kept = Counter(one.camera for one in taken.frames)
    assert kept["door"] == 5
    assert kept["gate"] <= 34
    assert Counter(taken.skipped)["gate", "too often"] == 500 - kept["gate"]


def test_what_was_done_with_before_a_restart_is_dropped() -> None:
    taken = Bed().take(shot(0), shot(1, b""), shot(2), done_below={0: 2})
    assert taken.replayed == 2
    assert [kept.offset for kept in taken.frames] == [2]
    assert taken.rejected == []


# -- motion ---------------------------------------------------------------------------------------
def scene(x: int | None) -> bytes:
    picture: Picture = np.full((120, 160, 3), 90, np.uint8)
    if x is not None:
        picture[40:90, x : x + 20] = 200
    return encode(picture)


def test_still_frames_are_marked_until_the_heartbeat_or_until_something_moves() -> None:
    bed = Bed()
    stills = bed.take(*(shot(i, scene(30)) for i in range(25)))
    assert [kept.offset for kept in stills.frames if not kept.is_still] == [0, 20]
    moved = bed.take(shot(25, scene(45)), shot(26, scene(45)))
    assert [kept.is_still for kept in moved.frames] == [False, True]


def test_motion_too_slow_for_one_frame_adds_up() -> None:
    taken = Bed().take(*(shot(i, scene(30 + i // 3)) for i in range(15)))
    looked_at = [kept.offset for kept in taken.frames if not kept.is_still]
    assert looked_at[0] == 0
    assert 2 <= len(looked_at) <= 8


def test_without_the_gate_nothing_is_still() -> None:
    taken = Bed(gate=False).take(*(shot(i, scene(30)) for i in range(5)))
    assert not any(kept.is_still for kept in taken.frames)


def test_cameras_are_compared_with_themselves() -> None:
    bed = Bed()
    taken = bed.take(shot(0, scene(30)), shot(1, scene(90), camera_id="door"), shot(2, scene(30)))
    assert [kept.is_still for kept in taken.frames] == [False, False, True]


# -- weights that know the simulated camera alone, and cameras that are down -----------------------
def test_the_bundled_weights_refuse_a_real_camera_with_the_remedy() -> None:
    bed = Bed(refusal="know the simulated camera alone: set vision.model")
    taken = bed.take(shot(0, source="simulated"), shot(1, source="stream"), shot(2))
    assert [kept.offset for kept in taken.frames] == [0]
    assert len(taken.rejected) == 2
    assert "set vision.model" in taken.rejected[0].reason


def test_word_that_a_camera_is_down_passes_in_its_place() -> None:
    down = FrameHeaders(camera_id="gate", captured_at=NOW, state="down")
    record = FakeRecord(1, None, b"gate", down.to_headers())
    taken = Bed().take(shot(0), record, shot(2))
    assert [kept.is_down for kept in taken.frames] == [False, True, False]

"""What grows too old while it waits for the network is skipped, and the next one knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.vision.preprocess import Letterboxed, letterbox
from streams.frames import FrameHeaders
from streams.pipeline.frames import Frame, Intake
from streams.pipeline.freshness import FrameRules
from streams.pipeline.lapse import Lapses, in_time

NOW = 1_700_000_000_000
PICTURE = np.zeros((32, 32, 3), np.uint8)
FRESHEST = FrameRules(keep_all=False, max_age_ms=2000, max_fps=30)
KEEP_ALL = FrameRules(keep_all=True, max_age_ms=2000, max_fps=30)


def lapses(rules: FrameRules = FRESHEST, cost_ms: float = 0.0) -> Lapses:
    made = Lapses(rules, lambda: NOW)
    made.spent(1, cost_ms / 1000)
    return made


def intake(*frames: tuple[str, int] | tuple[str, int, dict[str, Any]]) -> Intake:
    """Of cameras and ages (ms), with what else is to be said of a frame."""
    made = []
    for place, (camera, age_ms, *more) in enumerate(frames):
        said: dict[str, Any] = {"picture": PICTURE, **(more[0] if more else {})}
        state = said.pop("state", None)
        headers = FrameHeaders(camera_id=camera, captured_at=NOW - age_ms, state=state)
        made.append(Frame(place, 0, place, headers, b"", **said))
    return Intake(frames=made)


def canvas(count: int) -> Letterboxed:
    """Frames that differ in their brightness."""
    return letterbox([PICTURE + np.uint8(n) for n in range(count)], (32, 32))


def cameras(found: Intake) -> list[str]:
    return [frame.camera for frame in found.frames]


@pytest.mark.parametrize(
    ("ages", "cost", "kept"),
    [
        ([], 10, []),
        ([0, 1000, 2000], 0, [0, 1, 2]),
        ([2001, 0, 1000], 0, [1, 2]),
        ([1900, 0, 1000], 100, [1, 2]),  # the third would be done at 2200
        ([1500, 1500, 1500, 1500], 150, [0, 1, 2]),
        ([900], 5000, [0]),
        ([900, 900], 5000, [0]),
        ([1100], 5000, []),
    ],
)
def test_the_freshest_go_first_as_many_as_can_be_done_in_time(
    ages: list[float], cost: float, kept: list[int]
) -> None:
    assert in_time(ages, cost, 2000) == kept


def test_an_empty_batch_passes() -> None:
    found = Intake()
    assert lapses().sift(found, None) is None
    assert found == Intake()


def test_what_is_fresh_goes_on_as_it_is() -> None:
    found, seen = intake(("gate", 0), ("door", 1799)), canvas(2)
    assert lapses().sift(found, seen) is seen
    assert cameras(found) == ["gate", "door"]
    assert found.skipped == []


def test_what_is_too_old_is_skipped_and_counted_and_its_pixels_go_with_it() -> None:
    found = intake(("gate", 2500), ("door", 100), ("yard", 2001))
    left = lapses().sift(found, canvas(3))
    assert left is not None
    assert left.pixels.max(axis=(1, 2, 3)).tolist() == [1]
    assert len(left.scale) == len(left.shape) == 1
    assert cameras(found) == ["door"]
    assert found.skipped == [("gate", "stale"), ("yard", "stale")]


def test_what_a_batch_cost_is_taken_off_the_age_and_fades() -> None:
    assert lapses(cost_ms=500.0).sift(intake(("gate", 1400)), canvas(1)) is None
    sifting = lapses(cost_ms=500.0)
    for _ in range(3):
        sifting.spent(1, 0.0)
    assert sifting.sift(intake(("gate", 1400)), canvas(1)) is not None


def test_once_behind_it_catches_up_to_half_the_age() -> None:
    sifting = lapses()
    sifting.sift(intake(("gate", 2500), ("door", 100)), canvas(2))
    found = intake(("gate", 1700), ("door", 100))
    sifting.sift(found, canvas(2))
    assert cameras(found) == ["door"]
    sifting.sift(intake(("door", 100)), canvas(1))
    assert sifting.sift(intake(("gate", 1700)), canvas(1)) is not None


def test_after_a_slow_moment_frames_that_are_never_fresher_pass_again() -> None:
    sifting = lapses(cost_ms=60_000.0)
    passed = [sifting.sift(intake(("gate", 1500), ("gate", 1500)), canvas(2)) for _ in range(40)]
    assert passed[0] is None
    assert passed[-1] is not None


def test_where_all_frames_are_kept_none_lapses() -> None:
    found, seen = intake(("gate", 60_000)), canvas(1)
    assert lapses(KEEP_ALL).sift(found, seen) is seen
    assert cameras(found) == ["gate"]


def test_a_break_is_told_of_by_the_next_frame_that_is_detected() -> None:
    sifting = lapses()
    sifting.sift(intake(("gate", 3000, {"broken": "no picture came"}), ("gate", 2900)), canvas(2))
    found = intake(("door", 0), ("gate", 0), ("gate", 0))
    sifting.sift(found, canvas(3))
    assert [frame.broken for frame in found.frames] == [None, "no picture came", None]


def test_a_still_frame_is_skipped_while_what_it_repeats_was_not_seen() -> None:
    sifting, still = lapses(), {"is_still": True}
    sifting.sift(intake(("gate", 3000)), canvas(1))
    found = intake(("gate", 100, still), ("door", 100, still), ("yard", 2500, still))
    assert sifting.sift(found, None) is None
    assert cameras(found) == ["door"]
    assert found.skipped == [("gate", "stale"), ("yard", "stale")]
    sifting.sift(intake(("gate", 50)), canvas(1))
    again = intake(("gate", 0, still))
    sifting.sift(again, None)
    assert cameras(again) == ["gate"]


def test_word_of_a_camera_that_is_down_never_lapses() -> None:
    found = intake(("gate", 60_000, {"picture": None, "state": "down"}))
    lapses().sift(found, None)
    assert cameras(found) == ["gate"]


def test_a_camera_that_is_forgotten_begins_anew() -> None:
    sifting = lapses()
    sifting.sift(intake(("gate", 3000, {"broken": "no picture came"})), canvas(1))
    sifting.forget([(0, "gate"), (0, "nobody")])
    found = intake(("gate", 0))
    sifting.sift(found, canvas(1))
    assert found.frames[0].broken is None

"""What came back of a video against its truth, on boxes that are known."""

from __future__ import annotations

import numpy as np
import pytest

from models.vision.mot import MotRows, mot_rows
from streams.cli.evaluate_video import Run, judge
from streams.schemas import DetectedObject, FrameObjects, TrackedObject

FRAMES = 10


def truth(flag: int = 1) -> MotRows:
    """One object that moves 5 pixels a frame."""
    boxes = [(10 + 5 * i, 20, 40 + 5 * i, 90) for i in range(FRAMES)]
    return mot_rows(range(1, FRAMES + 1), [1] * FRAMES, boxes, [flag] * FRAMES)


def objects(
    number: int, *, name: str = "person", track: int = 7, shift: float = 0.0
) -> FrameObjects:
    box = (10 + 5 * number + shift, 20.0, 40 + 5 * number + shift, 90.0)
    return FrameObjects(
        camera_id="video",
        seq=number,
        captured_at=0,
        width=320,
        height=240,
        is_still=False,
        detections=[DetectedObject(*box, 0.9, name)],
        tracks=[TrackedObject(*box, 0.9, name, track)],
    )


def test_what_equals_the_truth_is_perfect() -> None:
    run = Run({i: objects(i) for i in range(FRAMES)}, FRAMES, 2.0)
    figures = judge(run, truth(), "person")
    assert figures == {
        "ap50": pytest.approx(1.0),
        "mota": 1.0,
        "idf1": 1.0,
        "fps": 5.0,
        "frames": FRAMES,
        "frames_lost": 0,
        "switches": 0,
    }


def test_lost_frames_are_counted_and_miss_their_objects() -> None:
    run = Run({i: objects(i) for i in range(FRAMES) if i != 4}, FRAMES, 2.0)
    figures = judge(run, truth(), "person")
    assert figures["frames_lost"] == 1
    assert figures["mota"] == pytest.approx(0.9)
    assert figures["ap50"] < 1


def test_a_track_that_changes_its_id_costs_a_switch() -> None:
    run = Run({i: objects(i, track=7 if i < 5 else 8) for i in range(FRAMES)}, FRAMES, 2.0)
    figures = judge(run, truth(), "person")
    assert figures["switches"] == 1
    assert figures["idf1"] == pytest.approx(0.5)


def test_other_classes_and_other_places_are_not_the_object() -> None:
    for wrong in ({"name": "car"}, {"shift": 200.0}):
        run = Run({i: objects(i, **wrong) for i in range(FRAMES)}, FRAMES, 2.0)  # type: ignore[arg-type]
        figures = judge(run, truth(), "person")
        assert figures["ap50"] == 0
        assert figures["mota"] <= 0


def test_the_frames_of_the_truth_are_numbered_from_one() -> None:
    early = Run({i: objects(i + 1, shift=-5.0) for i in range(FRAMES)}, FRAMES, 2.0)
    assert judge(early, truth(), "person")["ap50"] == pytest.approx(1.0)
    late = Run({i: objects(i + 6) for i in range(FRAMES)}, FRAMES, 2.0)
    assert judge(late, truth(), "person")["ap50"] < 0.1
    assert np.isfinite(judge(late, truth(), "person")["mota"])

"""Frames that are nearly right, one after another, and a camera's state that is nearly its own."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.vision.boxes import Detections
from models.vision.object_events import ObjectEvent
from models.vision.rules_file import RuleBook, parse_rules
from models.vision.tracker import TrackerConfig
from streams.errors import ForeignState
from streams.pipeline.watch import CameraWatch, unpack_watch
from tests.fakes import blobs
from tests.fakes.pictures import frame
from tests.fakes.vision_agent import NOW, STEP_MS, Worker
from tests.fuzz.inputs import damaged

SHAPE = (480, 640)
SOMEBODY = Detections(
    np.array([[300, 100, 380, 300]], np.float32), np.array([0.9], np.float32), np.zeros(1, int)
)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    rules = tmp_path_factory.mktemp("rules") / "rules.toml"
    rules.write_text(blobs.RULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.app.vision.load_network", blobs.load_blobs)
        yield Worker(rules=rules)


def look(watch: CameraWatch, book: RuleBook, time_ms: int) -> list[ObjectEvent]:
    config = TrackerConfig()
    return watch.look(SOMEBODY, book, time_ms=time_ms, shape=SHAPE, config=config).events


def sound(numbers: list[object]) -> bool:
    return all(math.isfinite(one) for one in numbers if isinstance(one, float))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["gate", "yard"]),
            st.one_of(
                st.sampled_from(blobs.PASSING),
                st.sampled_from(blobs.PASSING).flatmap(damaged),
                st.none(),
                st.binary(max_size=40),
            ),
            st.sampled_from([0, 0, 0, 1, -1, 50, -200, 10**6]),
        ),
        max_size=12,
    )
)
def test_each_frame_has_one_fate_and_what_is_told_is_sound(
    worker: Worker, frames: list[tuple[str, bytes | None, int]]
) -> None:
    first, letters, held = worker.sequence * 1000, len(worker.letters), len(worker.held)
    outcome = worker.take(
        [
            frame(
                first + at, value, camera_id=camera, captured_at=NOW + STEP_MS * (first + at + late)
            )
            for at, (camera, value, late) in enumerate(frames)
        ]
    )
    assert outcome.events + len(worker.letters) - letters == len(frames)
    for alert in worker.held[held:]:
        assert 0 <= alert.score <= 1
        assert sound([*alert.detail.values(), *alert.reasons[0].evidence.values()])
        assert alert.started_at <= alert.updated_at
    frozen = worker.detector.freeze(worker.sequence)
    for snapshot in worker.detector.pack(frozen, {0: first + 999}):
        worker.agent.store.flush(snapshot)
    worker.detector.flushed(worker.sequence)


BOOK = parse_rules(blobs.RULES.encode(), ("person",), "rules.toml")


def in_the_middle() -> bytes:
    """A camera's state while alerts are open."""
    watch = CameraWatch()
    for at in range(8):
        look(watch, BOOK, NOW + STEP_MS * at)
    packed = watch.pack()
    assert look(unpack_watch(packed), BOOK, NOW + STEP_MS * 1000)
    return packed


@given(st.just(in_the_middle()).flatmap(damaged).flatmap(damaged))
def test_a_damaged_state_of_a_camera_is_refused_or_goes_on_soundly(packed: bytes) -> None:
    try:
        watch = unpack_watch(packed)
    except ForeignState:
        return
    events = [e for at in range(3) for e in look(watch, BOOK, NOW + STEP_MS * (10 + 100 * at))]
    for event in events:
        assert sound([event.confidence, event.quality, *event.box, *event.evidence.values()])
    unpack_watch(watch.pack())

"""Whatever detections come whenever: finite tracks, ids given once, and a state that packs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.vision.boxes import Detections
from models.vision.track_state import new_state, pack_tracks, unpack_tracks
from models.vision.tracker import TrackerConfig, step

CONFIG = TrackerConfig(max_tracks=12)

numbers = st.one_of(
    st.floats(-100, 800, width=32), st.sampled_from([float("nan"), float("inf"), -1e30, 0.0])
)
boxes = st.tuples(
    numbers,
    numbers,
    st.floats(-10, 300, width=32),
    st.floats(-10, 300, width=32),
    st.floats(0, 1, width=32),
    st.integers(0, 2),
)
frames = st.lists(
    st.tuples(st.lists(boxes, max_size=15), st.integers(-500, 3000)), min_size=1, max_size=12
)
Frames = list[tuple[list[tuple[float, float, float, float, float, int]], int]]


def found(several: list[tuple[float, float, float, float, float, int]]) -> Detections:
    table = np.array(several, np.float32).reshape(-1, 6)
    with np.errstate(invalid="ignore", over="ignore"):
        xyxy = np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], 1)
    return Detections(xyxy, table[:, 4], table[:, 5].astype(np.int64))


@settings(max_examples=60, deadline=None)
@given(frames)
def test_tracks_are_finite_and_ids_are_given_once(played: Frames) -> None:
    state, time_ms, gone, live = new_state(), 0, set[int](), set[int]()
    for several, elapsed in played:
        time_ms += elapsed
        detections = found(several)
        state, tracks = step(state, detections, time_ms, CONFIG)
        ids = set(tracks.tracker_id.tolist())
        gone |= live - ids
        live = ids
        assert len(ids) == len(tracks) <= CONFIG.max_tracks
        assert not gone & ids
        assert all(0 < number < state.next_id for number in ids)
        assert np.isfinite(tracks.xyxy).all()
        assert (tracks.xyxy[:, 2:] > tracks.xyxy[:, :2]).all()
        assert len(tracks.seen()) <= len(detections)


@settings(max_examples=40, deadline=None)
@given(frames, st.integers(0, 11))
def test_a_restart_anywhere_changes_nothing(played: Frames, cut: int) -> None:
    whole = parted = new_state()
    time_ms = 0
    for number, (several, elapsed) in enumerate(played):
        time_ms += elapsed
        if number == cut % len(played):
            parted = unpack_tracks(pack_tracks(parted))
        whole, expected = step(whole, found(several), time_ms, CONFIG)
        parted, told = step(parted, found(several), time_ms, CONFIG)
        assert told.tracker_id.tolist() == expected.tracker_id.tolist()
        assert told.xyxy.tobytes() == expected.xyxy.tobytes()
    assert pack_tracks(parted) == pack_tracks(whole)

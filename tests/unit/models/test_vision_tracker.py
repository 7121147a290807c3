from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from models.errors import DataError
from models.vision.association import camera_shift, pair, similarity
from models.vision.boxes import CONFIRMED, TENTATIVE, Detections, Tracks
from models.vision.track_state import (
    TrackerState,
    new_state,
    pack_tracks,
    unpack_tracks,
)
from models.vision.tracker import TrackerConfig, step

CONFIG = TrackerConfig()


def detections(*boxes: tuple[float, ...], confidence: float = 0.9, class_id: int = 0) -> Detections:
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    n = len(xyxy)
    return Detections(xyxy, np.full(n, confidence, np.float32), np.full(n, class_id, np.int64))


def walker(x: float, y: float = 100.0) -> tuple[float, float, float, float]:
    return x, y, x + 40, y + 100


def play(
    frames: list[Detections], *, every_ms: int = 100, config: TrackerConfig = CONFIG
) -> tuple[TrackerState, list[Tracks]]:
    state, shown = new_state(), []
    for number, found in enumerate(frames):
        state, tracks = step(state, found, number * every_ms, config)
        shown.append(tracks)
    return state, shown


def test_an_empty_frame_gives_no_tracks() -> None:
    state, tracks = step(new_state(), Detections.empty(), 0, CONFIG)
    assert len(tracks) == len(tracks.seen()) == len(state.tracks) == 0
    assert state.time_ms == 0


def test_a_track_is_believed_after_its_third_detection() -> None:
    _, shown = play([detections(walker(100 + 5 * i)) for i in range(4)])
    assert [tracks.status.tolist() for tracks in shown] == [
        [TENTATIVE], [TENTATIVE], [CONFIRMED], [CONFIRMED],
    ]  # fmt: skip
    assert [len(tracks.seen()) for tracks in shown] == [0, 0, 1, 1]
    last = shown[-1]
    assert (last.tracker_id.tolist(), last.hits.tolist()) == ([1], [4])
    assert last.age_s.tolist() == pytest.approx([0.3])
    np.testing.assert_allclose(last.xyxy[0], walker(115), atol=2)


def test_a_burst_of_frames_is_not_believed_sooner_than_it_lasts() -> None:
    _, shown = play([detections(walker(100))] * 60, every_ms=2)
    believed = [bool((tracks.status == CONFIRMED).any()) for tracks in shown]
    assert believed.index(True) == 50  # 0.1 s at 500 frames a second


def test_a_false_detection_begins_nothing_that_lasts() -> None:
    frames = [detections(walker(100)), Detections.empty(), detections(walker(100))]
    state, shown = play(frames)
    assert shown[-1].tracker_id.tolist() == [2]
    assert shown[-1].status.tolist() == [TENTATIVE]
    assert state.next_id == 3


def test_an_unsure_detection_continues_a_track_and_begins_none() -> None:
    frames = [detections(walker(100)) for _ in range(3)]
    unsure = detections(walker(100), walker(400), confidence=0.3)
    _, shown = play([*frames, unsure])
    assert shown[-1].tracker_id.tolist() == [1]
    assert shown[-1].unseen_s.tolist() == [0.0]
    assert shown[-1].confidence.tolist() == pytest.approx([0.3])


def test_a_lost_track_keeps_its_id_and_is_not_shown_meanwhile() -> None:
    frames = [detections(walker(100 + 4 * i)) for i in range(20)]
    frames[10:15] = [Detections.empty()] * 5
    _, shown = play(frames)
    assert [len(tracks.seen()) for tracks in shown[9:16]] == [1, 0, 0, 0, 0, 0, 1]
    assert shown[12].unseen_s.tolist() == pytest.approx([0.3])
    assert shown[-1].tracker_id.tolist() == [1]


def test_a_track_lost_for_too_long_is_dropped() -> None:
    _, shown = play([detections(walker(100))] * 5 + [Detections.empty()] * 16)
    assert [len(tracks) for tracks in shown[-4:]] == [1, 1, 0, 0]


def test_tracks_do_not_change_class() -> None:
    frames = [detections(walker(100))] * 5 + [detections(walker(100), class_id=2)] * 5
    _, shown = play(frames)
    assert shown[-1].class_id.tolist() == [0, 2]
    assert shown[-1].tracker_id.tolist() == [1, 2]
    assert shown[-1].seen().class_id.tolist() == [2]


def test_two_who_pass_each_other_keep_their_ids() -> None:
    frames = [detections(walker(100 + 8 * i), walker(500 - 8 * i, 160)) for i in range(50)]
    _, shown = play(frames)
    by_id = dict(zip(shown[-1].tracker_id.tolist(), shown[-1].xyxy[:, 0].tolist(), strict=True))
    assert by_id == pytest.approx({1: 492, 2: 108}, abs=3)


def test_who_is_hidden_while_the_camera_pans_keeps_the_id() -> None:
    """The picture moves by one and a half widths: the box is nowhere near where it was."""
    homes = [(x, 80 + 30 * (i % 3)) for i, x in enumerate(range(0, 700, 100))]
    frames = []
    for frame in range(21):
        pan = 6 * min(max(frame - 9, 0), 10)
        hidden = 10 <= frame < 20
        shown = [walker(x + pan, y) for i, (x, y) in enumerate(homes) if not (hidden and i == 3)]
        frames.append(detections(*shown))
    _, tracks = play(frames)
    assert sorted(tracks[-1].seen().tracker_id.tolist()) == [1, 2, 3, 4, 5, 6, 7]
    _, tracks = play(frames, config=replace(CONFIG, shift_pairs=0))
    assert 4 not in tracks[-1].seen().tracker_id.tolist()


def test_dropped_frames_do_not_cost_the_id() -> None:
    """At 25 frames a second, then only each tenth: the same walk, 0.4 s apart."""
    state = new_state()
    times = [*range(0, 2000, 40), *range(2000, 6000, 400)]
    for time_ms in times:
        state, tracks = step(state, detections(walker(100 + 0.05 * time_ms)), time_ms, CONFIG)
    assert tracks.tracker_id.tolist() == [1]


def test_after_a_gap_nothing_is_taken_up_again() -> None:
    state, _ = play([detections(walker(100))] * 5)
    state, tracks = step(state, detections(walker(100)), 60_000, CONFIG)
    assert tracks.tracker_id.tolist() == [2]


def test_time_that_goes_backwards_or_stands_still_does_no_harm() -> None:
    state, _ = play([detections(walker(100))] * 5)
    for time_ms in (100, 100, -5_000_000, -5_000_000):
        state, tracks = step(state, detections(walker(100)), time_ms, CONFIG)
        assert tracks.tracker_id.tolist() == [1]
    state, tracks = step(state, Detections.empty(), -5_000_000, CONFIG)
    assert len(tracks) == 1
    assert len(tracks.seen()) == 0


def test_boxes_that_are_none_are_ignored() -> None:
    nan, inf = float("nan"), float("inf")
    bad = [
        (nan, 0, 10, 10), (0, 0, inf, 10), (10, 10, 10, 20), (20, 20, 10, 10), (0, 0, 1e30, 1e30),
    ]  # fmt: skip
    state, shown = play([detections(*bad, walker(100))] * 4)
    assert shown[-1].tracker_id.tolist() == [1]
    unsure = detections(walker(100), confidence=nan)
    _, tracks = step(state, unsure, 400, CONFIG)
    assert np.isfinite(tracks.xyxy).all()
    assert len(tracks.seen()) == 0


def test_the_number_of_tracks_is_bounded_and_the_believed_ones_stay() -> None:
    config = replace(CONFIG, max_tracks=10)
    grid = [walker(60 * (i % 40), 150 * (i // 40)) for i in range(200)]
    state, _ = play([detections(*grid[:8])] * 4, config=config)
    for time_ms in (400, 500, 600):
        state, tracks = step(state, detections(*grid[::-1], confidence=0.95), time_ms, config)
        assert len(tracks) <= 10
    assert set(range(1, 9)) <= set(tracks.tracker_id.tolist())


def test_the_state_given_is_left_as_it_is() -> None:
    state, _ = play([detections(walker(100))] * 3)
    before = pack_tracks(state)
    step(state, detections(walker(105)), 300, CONFIG)
    assert pack_tracks(state) == before


@pytest.mark.parametrize("count", [0, 1, 3])
def test_packing_keeps_every_bit(count: int) -> None:
    state, _ = play([detections(*(walker(100 * i) for i in range(count)))] * 3)
    again = unpack_tracks(pack_tracks(state))
    assert (again.next_id, again.time_ms) == (state.next_id, state.time_ms)
    assert again.tracks.tobytes() == state.tracks.tobytes()
    assert unpack_tracks(pack_tracks(new_state())).time_ms is None


def test_a_damaged_state_is_refused() -> None:
    state, _ = play([detections(walker(100), walker(300))] * 3)
    packed = pack_tracks(state)
    with pytest.raises(DataError, match="less than its header"):
        unpack_tracks(b"")
    with pytest.raises(DataError, match="cut or padded"):
        unpack_tracks(packed[:-1])
    with pytest.raises(DataError, match="version 9"):
        unpack_tracks(b"\x09\x00" + packed[2:])
    for name, value in (("mean", np.nan), ("tracker_id", 1), ("mean", -1.0)):
        tracks = state.tracks.copy()
        tracks[name] = value
        with pytest.raises(DataError, match="damaged"):
            unpack_tracks(pack_tracks(TrackerState(tracks, state.next_id, state.time_ms)))


def test_nothing_pairs_with_nothing() -> None:
    none: npt.NDArray[np.float32] = np.zeros((0, 4), np.float32)
    some = detections(walker(0)).xyxy
    assert similarity(none, some, 0.2).shape == (0, 1)
    assert pair(np.zeros((0, 3)), 0.1)[0].tolist() == []
    assert camera_shift(none, some, margin=0.3, least=1).tolist() == [0, 0]


def test_pairs_below_the_threshold_are_none() -> None:
    rows, columns = pair(np.array([[0.9, 0.3], [0.8, 0.1]]), 0.2)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    rows, _ = pair(np.array([[0.1]]), 0.2)
    assert len(rows) == 0

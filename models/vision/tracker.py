"""ByteTrack: detections of one frame after another become tracks with ids that stay.

Source: Zhang et al., ByteTrack, ECCV 2022. Tracks first take the detections that the network is
sure of, then those it is not: an unsure box where a track is expected is the object, half hidden.
The tracker is a pure function of its state, so a worker that restarts goes on with the same ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from models.vision import kalman
from models.vision.association import Floats, Ints, camera_shift, pair, similarity
from models.vision.boxes import CONFIRMED, TENTATIVE, Boxes, Detections, Tracks
from models.vision.track_state import TRACK, Records, TrackerState

_FAR_PX = 1e6  # a box beyond is no box; it keeps squares and products finite
_BLINK_S = 1e-3  # a track unseen in a frame is lost also where the clock stands still


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Thresholds; one set for all cameras.

    Attributes:
        low: confidence below which a detection is ignored.
        high: confidence from which a detection is sure.
        new: confidence from which a detection that fits no track begins one.
        sure_likeness: of a confirmed track and a sure detection, times its confidence, in [0, 1].
        unsure_likeness: of a confirmed track and an unsure detection.
        tentative_likeness: of a tentative track and a sure detection, times its confidence.
        margin: by which boxes grow before they are compared, in widths and heights.
        shift_margin: likewise, where the camera's motion is measured.
        shift_pairs: objects that must move together before the camera is believed to; 0 for
            cameras that never do.
        confirm_hits: detections before a track is believed, and
        confirm_s: seconds that it must have lasted by then: false detections flicker.
        lost_s: seconds after which a track that was not seen is dropped.
        gap_s: seconds without any frame after which nothing is taken up again.
        max_tracks: the number kept; of detections too, the surest ones.
        motion: of the objects.
    """

    low: float = 0.1
    high: float = 0.6
    new: float = 0.8
    sure_likeness: float = 0.2
    unsure_likeness: float = 0.4
    tentative_likeness: float = 0.3
    margin: float = 0.2
    shift_margin: float = 0.3
    shift_pairs: int = 3
    confirm_hits: int = 3
    confirm_s: float = 0.1
    lost_s: float = 1.5
    gap_s: float = 5.0
    max_tracks: int = 256
    motion: kalman.Motion = field(default_factory=kalman.Motion)


def step(
    state: TrackerState,
    detections: Detections,
    time_ms: int,
    config: TrackerConfig,
) -> tuple[TrackerState, Tracks]:
    """Take one frame in.

    Args:
        state: after the frame before; left as it is.
        detections: of the frame. What is not finite or has no area is ignored.
        time_ms: when it was captured. Time that goes backwards counts as none passed.
        config: the thresholds.

    Returns:
        The state after the frame, and all its tracks: confirmed, tentative and lost.
    """
    found = _sound(detections, config)
    boxes = kalman.to_cxcywh(found.xyxy)
    # 1. Where the tracks are expected.
    elapsed_s = 0.0 if state.time_ms is None else max(time_ms - state.time_ms, 0) / 1000
    tracks = state.tracks.copy() if elapsed_s <= config.gap_s else np.zeros(0, TRACK)
    seen_before = tracks["unseen_s"] == 0
    _move(tracks, elapsed_s, config)
    sure = np.flatnonzero(found.confidence >= config.high)
    unsure = np.flatnonzero(found.confidence < config.high)
    tracks["mean"][:, 0, :2] += camera_shift(
        _boxes(tracks[seen_before]),
        found.xyxy[sure],
        margin=config.shift_margin,
        least=config.shift_pairs or len(found) + 1,
    )
    # 2. Confirmed tracks take sure detections, then those seen in the last frame unsure ones;
    #    tentative tracks take what sure ones are left.
    believed = tracks["status"] == CONFIRMED
    matches = _Matches(tracks, found, config.margin)
    sure = matches.take(np.flatnonzero(believed), sure, config.sure_likeness, weighted=True)
    missed = matches.missed(believed & seen_before)
    matches.take(missed, unsure, config.unsure_likeness, weighted=False)
    sure = matches.take(np.flatnonzero(~believed), sure, config.tentative_likeness, weighted=True)
    # 3. What was matched is corrected; what was not is kept while it may come back.
    rows, columns = matches.rows, matches.columns
    tracks["mean"][rows], tracks["covariance"][rows] = kalman.correct(
        tracks["mean"][rows], tracks["covariance"][rows], boxes[columns], config.motion
    )
    tracks["confidence"][rows] = found.confidence[columns]
    tracks["hits"][rows] += 1
    tracks["unseen_s"][rows] = 0.0
    tracks["status"][
        (tracks["hits"] >= config.confirm_hits) & (tracks["age_s"] >= config.confirm_s)
    ] = CONFIRMED
    kept = matches.matched | (believed & (tracks["unseen_s"] <= config.lost_s))
    # 4. What is sure and fits no track begins one; with the table full, what was lost longest goes.
    new = sure[found.confidence[sure] >= config.new]
    begun = _begun(found.take(new), boxes[new], state.next_id, config)
    tracks = _fitted(np.concatenate([tracks[kept], begun]), config.max_tracks)
    return TrackerState(tracks, state.next_id + len(begun), time_ms), _output(tracks)


class _Matches:
    """Pairs of tracks and detections, found in several rounds.

    Attributes:
        rows: (K,) of the tracks.
        columns: (K,) of the detections.
        matched: (N,) which tracks have one.
    """

    def __init__(self, tracks: Records, found: Detections, margin: float) -> None:
        self.rows = self.columns = np.zeros(0, np.int64)
        self.matched = np.zeros(len(tracks), np.bool_)
        self._likeness = similarity(_boxes(tracks), found.xyxy, margin)
        self._likeness *= tracks["class_id"][:, None] == found.class_id[None, :]
        self._confidence = found.confidence

    def take(self, tracks: Ints, found: Ints, least: float, *, weighted: bool) -> Ints:
        """Pair some tracks with some detections; returns the detections that are left."""
        if not len(tracks) or not len(found):
            return found
        score: Floats = self._likeness[np.ix_(tracks, found)]
        if weighted:
            score = score * self._confidence[found]
        rows, columns = pair(score, least)
        self.rows = np.concatenate([self.rows, tracks[rows]])
        self.columns = np.concatenate([self.columns, found[columns]])
        self.matched[tracks[rows]] = True
        return np.delete(found, columns)

    def missed(self, among: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Ints:
        """Tracks of a mask (N,) without a detection so far."""
        return np.flatnonzero(among & ~self.matched)


def _sound(detections: Detections, config: TrackerConfig) -> Detections:
    """Those with finite numbers and an area, confident enough; the surest, if there are many."""
    xyxy, confidence = detections.xyxy, detections.confidence
    near = (np.abs(xyxy) <= _FAR_PX).all(1)  # False for nan
    sized = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    good = np.flatnonzero(near & sized & (confidence >= config.low))
    if len(good) > config.max_tracks:
        surest = np.argsort(-confidence[good], kind="stable")[: config.max_tracks]
        good = good[np.sort(surest)]
    return detections.take(good)


def _move(tracks: Records, elapsed_s: float, config: TrackerConfig) -> None:
    """To where the tracks are expected, in place."""
    lost = tracks["unseen_s"] > 0
    tracks["mean"][lost, 1, 2:] = 0.0  # a lost box does not go on growing or shrinking
    tracks["mean"], tracks["covariance"] = kalman.predict(
        tracks["mean"], tracks["covariance"], elapsed_s, config.motion
    )
    tracks["age_s"] += elapsed_s
    tracks["unseen_s"] += max(elapsed_s, _BLINK_S)


def _begun(found: Detections, boxes: Floats, first_id: int, config: TrackerConfig) -> Records:
    """New tracks, one for each detection."""
    begun = np.zeros(len(found), TRACK)
    if not len(found):
        return begun
    begun["mean"], begun["covariance"] = kalman.begin(boxes, config.motion)
    begun["tracker_id"] = first_id + np.arange(len(found))
    begun["class_id"], begun["confidence"] = found.class_id, found.confidence
    begun["hits"] = 1
    begun["status"] = CONFIRMED if config.confirm_hits <= 1 else TENTATIVE
    return begun


def _fitted(tracks: Records, most: int) -> Records:
    """At most so many: tentative ones go first, then those unseen for longest."""
    if len(tracks) <= most:
        return tracks
    order = np.lexsort((tracks["unseen_s"], tracks["status"] == TENTATIVE))
    return tracks[np.sort(order[:most])]


def _output(tracks: Records) -> Tracks:
    return Tracks(
        _boxes(tracks),
        *(
            tracks[name].copy()
            for name in (
                "confidence", "class_id", "tracker_id", "hits", "age_s", "unseen_s", "status",
            )
        ),
    )  # fmt: skip


def _boxes(tracks: Records) -> Boxes:
    return kalman.to_xyxy(tracks["mean"][:, 0])

"""The tracker on recorded sequences, frame by frame as it would see them live."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from models.vision.mot import MotRows, MotSequence, mot_rows
from models.vision.track_state import new_state
from models.vision.tracker import TrackerConfig, step
from models.vision.tracking_metrics import TrackingCounts, count_tracks, total


def follow(sequence: MotSequence, config: TrackerConfig) -> MotRows:
    """What the tracker tells in each frame, knowing the frames up to it and no more."""
    state, frames, shown = new_state(), [], []
    for frame in range(1, sequence.frames + 1):
        time_ms = round(frame * 1000 / sequence.fps)
        state, tracks = step(state, sequence.detections.detections(frame), time_ms, config)
        seen = tracks.seen()
        frames.append(np.full(len(seen), frame))
        shown.append(seen)
    return mot_rows(
        np.concatenate(frames),
        np.concatenate([seen.tracker_id for seen in shown]),
        np.concatenate([seen.xyxy for seen in shown]),
        np.concatenate([seen.confidence for seen in shown]),
    )


def evaluate_tracker(
    sequences: Iterable[MotSequence], config: TrackerConfig | None = None
) -> tuple[dict[str, TrackingCounts], TrackingCounts]:
    """Counts of each sequence by name, and of all together."""
    config = config or TrackerConfig()
    each = {s.name: count_tracks(s.truth, follow(s, config)) for s in sequences}
    return each, total(each.values())

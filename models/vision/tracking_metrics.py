"""How good tracks are: CLEAR MOT, IDF1 and HOTA, as TrackEval defines them.

Sources: Bernardin and Stiefelhagen 2008 (MOTA), Ristani et al. 2016 (IDF1), Luiten et al. 2021
(HOTA). Sequences are summed before any ratio is taken, so long ones weigh more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from models.vision.boxes import iou
from models.vision.mot import MotRows

MATCH_IOU = 0.5
ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The 19 overlaps over which HOTA is averaged."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_EPS = float(np.finfo(np.float64).eps)  # an overlap of exactly the threshold is a match


@dataclass(frozen=True, slots=True)
class TrackingCounts:
    """What is counted in one sequence, or summed over several.

    Attributes:
        truth: boxes of the truth.
        found: boxes of the tracker.
        matched: pairs of them in the sense of CLEAR.
        switches: matched boxes of the truth whose last match was another track.
        id_matched: pairs under the best one-to-one assignment of whole tracks.
        hota_matched: (19,) pairs at each of `ALPHAS`.
        hota_associated: (19,) the pairs, each weighted by how well its two tracks agree.
    """

    truth: int
    found: int
    matched: int
    switches: int
    id_matched: int
    hota_matched: Floats
    hota_associated: Floats

    def figures(self) -> dict[str, float | int]:
        """``mota``, ``idf1`` and ``hota`` (at most 1) beside the counts that they come from."""
        missed, wrong = self.truth - self.matched, self.found - self.matched
        detected = self.hota_matched / np.maximum(
            self.truth + self.found - self.hota_matched, 1
        )  # (19,)
        associated = self.hota_associated / np.maximum(self.hota_matched, 1)
        return {
            "mota": 1.0 - (missed + wrong + self.switches) / max(self.truth, 1),
            "idf1": 2.0 * self.id_matched / max(self.truth + self.found, 1),
            "hota": float(np.sqrt(detected * associated).mean()),
            "switches": self.switches,
            "false_positives": wrong,
            "misses": missed,
            "truth": self.truth,
        }


def total(counts: Iterable[TrackingCounts]) -> TrackingCounts:
    """The sum over sequences."""
    every = list(counts)
    names = [field.name for field in fields(TrackingCounts)]
    return TrackingCounts(**{name: sum(getattr(c, name) for c in every) for name in names})


def count_tracks(truth: MotRows, found: MotRows) -> TrackingCounts:
    """Hold a tracker's rows against the truth of the same sequence.

    Args:
        truth: boxes that count, a track at most once a frame.
        found: the tracker's output, likewise.
    """
    truth_id, truth_tracks = _codes(truth.tracker_id)
    found_id, found_tracks = _codes(found.tracker_id)
    frames = [
        (t, f, iou(truth.xyxy[t], found.xyxy[f]).astype(np.float64))
        for t, f in _frames(truth, found)
    ]
    pairs = [(truth_id[t], found_id[f], overlap) for t, f, overlap in frames]
    matched, switches = _clear(pairs, truth_tracks)
    shape = truth_tracks, found_tracks
    hota_matched, hota_associated = _hota(pairs, shape)
    return TrackingCounts(
        len(truth), len(found), matched, switches, _identity(pairs, shape), hota_matched,
        hota_associated,
    )  # fmt: skip


Frame = tuple[Ints, Ints, Floats]
"""Of one frame: tracks of the truth (T,), tracks found (F,), their overlap (T, F)."""


def _clear(frames: list[Frame], truth_tracks: int) -> tuple[int, int]:
    """Matches and switches; a pair of the frame before stays together while it overlaps enough."""
    last, before = np.full(truth_tracks, -1), np.full(truth_tracks, -1)
    matched = switches = 0
    for truth, found, overlap in frames:
        kept = before[truth][:, None] == found[None, :]  # (T, F)
        score = np.where(overlap >= MATCH_IOU - _EPS, 1000.0 * kept + overlap, 0.0)
        rows, columns = linear_sum_assignment(score, maximize=True)
        good = score[rows, columns] > _EPS
        tracks, partners = truth[rows[good]], found[columns[good]]
        switches += int(((last[tracks] >= 0) & (last[tracks] != partners)).sum())
        matched += len(tracks)
        before[:] = -1
        last[tracks] = before[tracks] = partners
    return matched, switches


def _identity(frames: list[Frame], shape: tuple[int, int]) -> int:
    """Pairs under the assignment of whole tracks that has most of them."""
    together = np.zeros(shape)
    for truth, found, overlap in frames:
        together[np.ix_(truth, found)] += overlap >= MATCH_IOU
    rows, columns = linear_sum_assignment(together, maximize=True)
    return int(together[rows, columns].sum())


def _hota(frames: list[Frame], shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """(19,) pairs, and (19,) pairs weighted by the Jaccard index of their tracks."""
    # 1. How well every two tracks agree over the whole sequence.
    agree, truth_boxes, found_boxes = np.zeros(shape), np.zeros(shape[0]), np.zeros(shape[1])
    for truth, found, overlap in frames:
        rivals = overlap.sum(0)[None, :] + overlap.sum(1)[:, None] - overlap
        agree[np.ix_(truth, found)] += np.where(
            rivals > _EPS, overlap / np.maximum(rivals, _EPS), 0
        )
        truth_boxes[truth] += 1
        found_boxes[found] += 1
    both = truth_boxes[:, None] + found_boxes[None, :]
    alignment = agree / np.maximum(both - agree, _EPS)
    # 2. Pairs in each frame, preferring tracks that agree.
    together = np.zeros((len(ALPHAS), *shape))
    for truth, found, overlap in frames:
        score = alignment[np.ix_(truth, found)] * overlap
        rows, columns = linear_sum_assignment(score, maximize=True)
        close = overlap[rows, columns][None, :] >= ALPHAS[:, None] - _EPS  # (19, pairs)
        together[:, truth[rows], found[columns]] += close
    # 3. Each pair counts as much as its tracks have in common.
    jaccard = together / np.maximum(both[None] - together, 1)
    return together.sum((1, 2)), (together * jaccard).sum((1, 2))


def _frames(truth: MotRows, found: MotRows) -> Iterable[tuple[slice, slice]]:
    """Where the boxes of each frame are, for the frames with a box in either."""
    for frame in np.union1d(truth.frame, found.frame).tolist():
        yield truth.of_frame(frame), found.of_frame(frame)


def _codes(tracker_id: Ints) -> tuple[Ints, int]:
    """Ids as numbers from 0, and how many there are."""
    unique, code = np.unique(tracker_id, return_inverse=True)
    return code.astype(np.int64), len(unique)

"""Are scores probabilities? Measures of calibration, and Platt's correction.

Of the transactions with a score of about 0.3, three in ten should be frauds. Sources: Guo et al.,
On Calibration of Modern Neural Networks (2017), for the expected calibration error; Platt,
Probabilistic Outputs for Support Vector Machines (1999), for the correction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import DataError

_FLOOR = 1e-7  # logits stay within +-16: float32 scores reach 0 and 1
_STEPS = 100

Scores = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reliability:
    """The reliability curve: bins of as many scores each, by rising score.

    Attributes:
        score: (B,) mean score of each bin.
        fraud_share: (B,) share of frauds in it.
        count: (B,) int64 scores in it.
    """

    score: Floats
    fraud_share: Floats
    count: npt.NDArray[np.int64]


def reliability(truth: Bools, scores: Scores, bins: int = 20) -> Reliability:
    """Curve of N scores; equal scores share a bin, so there may be fewer than `bins`.

    Bins of equal mass, for almost all scores are small: of bins of equal width all but the first
    would be nearly empty.
    """
    order = np.argsort(scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    # A bin ends where the score changes: the first of the equal ones decides for all.
    first = np.searchsorted(ranked, ranked, side="left")
    place = np.unique(first * bins // max(len(ranked), 1), return_inverse=True)[1]
    count = np.bincount(place)
    total = np.bincount(place, ranked)
    frauds = np.bincount(place, truth[order].astype(np.float64))
    return Reliability(total / count, frauds / count, count)


def expected_calibration_error(truth: Bools, scores: Scores, bins: int = 20) -> float:
    """Mean distance between score and share of frauds over the bins of `reliability`; nan of none.

    Weighted by their counts. Where frauds are rare it is small for anybody who says so: compare it
    with the share of frauds.
    """
    curve = reliability(truth, scores, bins)
    if not len(curve.count):
        return float("nan")
    return float(np.average(np.abs(curve.score - curve.fraud_share), weights=curve.count))


def brier(truth: Bools, scores: Scores) -> float:
    """Mean squared distance between score and outcome; nan of none."""
    return float(np.mean((scores.astype(np.float64) - truth) ** 2)) if len(truth) else float("nan")


@dataclass(frozen=True, slots=True)
class Platt:
    """Score to probability: sigmoid(slope * logit(score) + offset). Order is kept, slope > 0."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, scores: Scores) -> Floats:
        """(N,) scores in [0, 1] to (N,) probabilities."""
        return _sigmoid(self.slope * _logit(scores) + self.offset)


def fit_platt(truth: Bools, scores: Scores) -> Platt:
    """The correction of greatest likelihood, by Newton's method on its two numbers.

    Args:
        truth: (N,) verdicts of transactions that the network did not learn from.
        scores: (N,) its scores of them.

    Raises:
        DataError: there are not both frauds and genuine ones, or the scores do not rise with the
            share of frauds.
    """
    if not truth.any() or truth.all():
        raise DataError(
            "scores cannot be calibrated without both frauds and genuine transactions: give more"
        )
    # The two columns are (logit, 1); a little weight decay holds a slope that separates everything.
    columns = np.stack([_logit(scores), np.ones(len(scores))], 1)  # (N, 2)
    decay = np.diag([1e-3, 0.0])
    weights, target = np.array([1.0, 0.0]), truth.astype(np.float64)
    for _ in range(_STEPS):
        predicted = _sigmoid(columns @ weights)
        gradient = columns.T @ (predicted - target) + decay @ (weights - [1.0, 0.0])
        curvature = (columns * (predicted * (1 - predicted))[:, None]).T @ columns + decay
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        # Far from the solution the curvature fades and a full step would jump over it.
        weights = weights - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = float(weights[0]), float(weights[1])
    if slope <= 0:
        raise DataError(
            "the scores do not rise with the share of frauds, so no calibration helps: train again"
        )
    return Platt(slope, offset)


def _logit(scores: Scores) -> Floats:
    inside = np.clip(scores.astype(np.float64), _FLOOR, 1 - _FLOOR)
    return np.log(inside) - np.log1p(-inside)


def _sigmoid(logits: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * logits))

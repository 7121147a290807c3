"""Detectors that need no labels, which the network's novelty is measured against.

They see the book's inputs without those that labels enter. Needs the `eval` extra.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.fraud.baselines import Matrix
from models.fraud.book import BOOK_FEATURES

Detector = Literal["isolation_forest", "autoencoder"]
DETECTORS: tuple[Detector, ...] = ("isolation_forest", "autoencoder")

_LEARNED_AT_MOST = 100_000


def anomaly_scores(
    detector: Detector,
    x: Matrix,
    learned: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.int64],
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Learn what is usual from some rows and say how unusual others are.

    Args:
        detector: ``isolation_forest`` (scikit-learn's defaults) or ``autoencoder`` (one hidden
            layer narrower than the input, as in the book's chapter 7; the error of
            reconstruction is the score).
        x: (N, 15) the book's inputs.
        learned: (N,) rows to learn from; `_LEARNED_AT_MOST` of them are drawn.
        judged: (K,) places of the rows to score.
        seed: of the draw and of the model.

    Returns:
        (K,), higher is more unusual.
    """
    # 1. Without the inputs that labels enter, each of mean 0 and deviation 1.
    unlabelled = np.flatnonzero(["risk" not in name for name in BOOK_FEATURES])
    rows = np.flatnonzero(learned)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(rows, min(len(rows), _LEARNED_AT_MOST), replace=False))
    known, asked = x[np.ix_(rows, unlabelled)], x[np.ix_(judged, unlabelled)]
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    # 2. Learn and score.
    if detector == "isolation_forest":
        forest: Any = importlib.import_module("sklearn.ensemble").IsolationForest(random_state=seed)
        scores: npt.NDArray[np.float64] = -forest.fit(known).score_samples(asked)
        return scores
    narrow = len(unlabelled) // 2
    network: Any = importlib.import_module("sklearn.neural_network").MLPRegressor(
        hidden_layer_sizes=(narrow,), early_stopping=True, max_iter=1000, random_state=seed
    )
    error = network.fit(known, known).predict(asked) - asked
    squared: npt.NDArray[np.float64] = (error**2).mean(1)
    return squared

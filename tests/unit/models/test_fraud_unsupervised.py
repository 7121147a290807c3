"""Detectors that need no labels really see none, and find what is absurd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.fraud import unsupervised
from models.fraud.book import BOOK_FEATURES, book_features
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from models.fraud.unsupervised import DETECTORS, Detector, anomaly_scores

pytest.importorskip("sklearn")

WORLD = SimulatorConfig(
    customers=60, terminals=60, radius=30.0, seed=4, compromised_terminals=1, compromised_cards=1
)
every_detector = pytest.mark.parametrize("detector", DETECTORS)


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 24)


@pytest.fixture(scope="module")
def learned(history: Transactions) -> np.ndarray:
    return np.arange(len(history)) < len(history) // 2


@pytest.fixture(scope="module")
def judged(learned: np.ndarray) -> np.ndarray:
    return np.flatnonzero(~learned)


@every_detector
def test_other_verdicts_change_no_score(
    history: Transactions, learned: np.ndarray, judged: np.ndarray, detector: Detector
) -> None:
    x, other = (
        book_features(one) for one in (history, replace(history, is_fraud=~history.is_fraud))
    )
    assert (x != other).any()  # the book's inputs do see labels
    np.testing.assert_array_equal(
        anomaly_scores(detector, x, learned, judged),
        anomaly_scores(detector, other, learned, judged),
    )


@every_detector
def test_an_absurd_row_is_the_most_unusual(
    history: Transactions, learned: np.ndarray, judged: np.ndarray, detector: Detector
) -> None:
    x = book_features(history)
    absurd = len(judged) // 3
    for place, name in enumerate(BOOK_FEATURES):
        if "risk" not in name:
            x[judged[absurd], place] = 20 * x[learned, place].max() + 1
    scores = anomaly_scores(detector, x, learned, judged)
    assert scores.shape == judged.shape
    assert scores.argmax() == absurd


@every_detector
def test_what_is_learned_decides_what_is_usual(
    history: Transactions, learned: np.ndarray, judged: np.ndarray, detector: Detector
) -> None:
    x = book_features(history)
    before = anomaly_scores(detector, x, learned, judged)
    # Rows that are neither learned nor judged have no say; learned ones do.
    half = judged[: len(judged) // 2]
    other = x.copy()
    other[judged[len(half) :]] = 0.0
    np.testing.assert_array_equal(
        anomaly_scores(detector, other, learned, half), before[: len(half)]
    )
    other[learned] *= np.random.default_rng(0).uniform(0.5, 2.0, other[learned].shape)
    assert (anomaly_scores(detector, other, learned, half) != before[: len(half)]).any()


@every_detector
def test_a_seed_decides_the_scores(
    history: Transactions,
    learned: np.ndarray,
    judged: np.ndarray,
    detector: Detector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unsupervised, "_LEARNED_AT_MOST", 500)
    x = book_features(history)
    first, again, other = (anomaly_scores(detector, x, learned, judged, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()

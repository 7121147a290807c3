from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from models.errors import DataError
from models.fraud.calibration import (
    Platt,
    brier,
    expected_calibration_error,
    fit_platt,
    reliability,
)

NONE, NO_TRUTH = np.zeros(0), np.zeros(0, np.bool_)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@pytest.fixture
def known() -> tuple[np.ndarray, np.ndarray]:
    """Logits, and outcomes that happen as often as they say."""
    rng = np.random.default_rng(4)
    logits = rng.normal(-3.0, 2.0, 60_000)
    return logits, rng.random(len(logits)) < sigmoid(logits)


def test_measures_of_nothing_are_not_a_number() -> None:
    assert np.isnan(brier(NO_TRUTH, NONE))
    assert np.isnan(expected_calibration_error(NO_TRUTH, NONE))
    assert len(reliability(NO_TRUTH, NONE).count) == 0


def test_bins_hold_as_many_scores_each_and_all_of_them() -> None:
    scores = np.random.default_rng(0).random(1000)
    curve = reliability(scores < 0.5, scores, bins=10)
    assert curve.count.tolist() == [100] * 10
    assert (np.diff(curve.score) > 0).all()
    assert float(np.average(curve.score, weights=curve.count)) == pytest.approx(scores.mean())
    assert curve.fraud_share[:4].tolist() == [1.0] * 4
    assert curve.fraud_share[-4:].tolist() == [0.0] * 4


def test_equal_scores_share_a_bin() -> None:
    scores = np.repeat([0.1, 0.9], [90, 10])
    curve = reliability(scores > 0.5, scores, bins=10)
    assert (curve.count.tolist(), curve.fraud_share.tolist()) == ([90, 10], [0.0, 1.0])


def test_probabilities_have_no_calibration_error_and_others_have(
    known: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, truth = known
    assert expected_calibration_error(truth, sigmoid(logits)) < 0.005
    doubled = sigmoid(2 * logits + 1)
    assert expected_calibration_error(truth, doubled) > 0.05
    assert expected_calibration_error(np.array([True]), np.array([0.25])) == 0.75


def test_the_brier_score_is_that_of_scikit_learn(known: tuple[np.ndarray, np.ndarray]) -> None:
    logits, truth = known
    assert brier(truth, sigmoid(logits)) == pytest.approx(brier_score_loss(truth, sigmoid(logits)))


def test_the_fit_undoes_a_distortion_of_the_logits(known: tuple[np.ndarray, np.ndarray]) -> None:
    logits, truth = known
    distorted = sigmoid(2 * logits + 1).astype(np.float64)
    fitted = fit_platt(truth, distorted)
    assert fitted.slope == pytest.approx(0.5, abs=0.02)
    assert fitted.offset == pytest.approx(-0.5, abs=0.06)
    assert expected_calibration_error(truth, fitted(distorted)) < 0.005
    assert brier(truth, fitted(distorted)) < brier(truth, distorted)


def test_scores_of_exactly_zero_and_one_stay_finite_and_in_order() -> None:
    calibrated = Platt(0.8, -0.3)(np.array([0.0, 1e-9, 0.2, 0.7, 1.0], np.float32))
    assert np.isfinite(calibrated).all()
    assert (np.diff(calibrated) >= 0).all()
    assert (calibrated[[0, -1]] > 0).all()
    assert (calibrated < 1).all()


def test_scores_that_separate_everything_get_a_finite_correction() -> None:
    truth = np.arange(200) >= 150
    fitted = fit_platt(truth, np.where(truth, 0.9, 0.1))
    assert np.isfinite([fitted.slope, fitted.offset]).all()


def test_the_identity_is_the_default() -> None:
    scores = np.array([0.001, 0.5, 0.999])
    np.testing.assert_allclose(Platt()(scores), scores, rtol=1e-12)


def test_what_cannot_be_calibrated_is_refused(known: tuple[np.ndarray, np.ndarray]) -> None:
    logits, truth = known
    with pytest.raises(DataError, match="both frauds and genuine"):
        fit_platt(np.zeros(3, np.bool_), np.array([0.1, 0.2, 0.3]))
    with pytest.raises(DataError, match="do not rise"):
        fit_platt(truth, sigmoid(-logits))

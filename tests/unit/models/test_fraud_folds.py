from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.fraud import folds
from models.fraud.evaluation import Fold, Mode, training_rows
from models.fraud.folds import FoldNetworks, FoldScores
from models.fraud.network import FraudNetworkConfig
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.training import FitConfig, OnProgress, TrainingConfig
from models.fraud.transactions import Transactions

WORLD = SimulatorConfig(customers=60, terminals=90, radius=25.0, seed=4, start="2018-06-01")
START = "2018-07-04"


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 62)


@pytest.fixture(autouse=True)
def a_small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(fit: FitConfig) -> TrainingConfig:
        network = FraudNetworkConfig(hidden=8, head=16)
        return TrainingConfig(network=network, fit=replace(fit, epochs=1, cards_at_once=20))

    monkeypatch.setattr(folds, "TrainingConfig", small)


def fold_scores(
    history: Transactions,
    start: str,
    mode: Mode,
    seed: int,
    on_progress: OnProgress | None = None,
) -> FoldScores:
    return FoldNetworks(history, start, mode).scores(seed, on_progress)


def with_labels(history: Transactions, changed: np.ndarray) -> Transactions:
    return replace(history, is_fraud=history.is_fraud ^ changed)


@pytest.mark.parametrize("mode", ["A", "B"])
def test_the_network_learns_from_the_labels_of_its_fold_and_no_others(
    history: Transactions, mode: Mode
) -> None:
    learned = training_rows(history, START, mode)
    first = fold_scores(history, START, mode, 0)
    sha256, judged = first.sha256, Fold.of(history, START).rows
    for said in (first.scores, first.novelty):
        assert np.isfinite(said[: judged[-1] + 1]).all()
        assert np.isnan(said[judged[-1] + 1 :]).all()

    # Labels of the week before the test week, and later ones, teach nothing; an older one does.
    after = np.arange(len(history)) > np.flatnonzero(learned)[-1]
    young = fold_scores(with_labels(history, after & ~_week(history)), START, mode, 0)
    assert young.sha256 == sha256
    one = np.zeros(len(history), np.bool_)
    one[np.flatnonzero(learned)[-1]] = True
    assert fold_scores(with_labels(history, one), START, mode, 0).sha256 != sha256


def _week(history: Transactions) -> np.ndarray:
    """The test week, whose frauds say which rows are judged."""
    rows = Fold.of(history, START).rows
    week = np.zeros(len(history), np.bool_)
    week[rows[0] : rows[-1] + 1] = True
    return week


def test_a_seed_repeats_itself(history: Transactions) -> None:
    one, two, other = (fold_scores(history, START, "A", seed) for seed in (1, 1, 2))
    assert one.sha256 == two.sha256 != other.sha256
    np.testing.assert_array_equal(one.scores, two.scores)


def test_what_comes_after_the_test_week_changes_nothing(history: Transactions) -> None:
    end = int(Fold.of(history, START).rows[-1]) + 1
    whole = fold_scores(history, START, "B", 0)
    cut = fold_scores(history.take(slice(0, end)), START, "B", 0)
    assert whole.sha256 == cut.sha256
    np.testing.assert_array_equal(whole.scores[:end], cut.scores)


def test_progress_is_told(history: Transactions) -> None:
    steps: list[tuple[int, int]] = []
    fold_scores(history, START, "A", 0, lambda step, total, loss: steps.append((step, total)))
    assert steps[-1][0] == steps[-1][1] == len(steps)

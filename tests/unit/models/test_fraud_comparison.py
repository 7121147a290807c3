"""Baselines, their search and the whole comparison, on a small world and small models."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import DataError, ModelError
from models.fraud import comparison
from models.fraud.baselines import BASELINES, Baseline, fit_predict, require_libraries
from models.fraud.book import book_features
from models.fraud.comparison import Plan, compare
from models.fraud.contest import Contest
from models.fraud.evaluation import METRICS, Fold, mean_and_std, training_rows
from models.fraud.folds import FoldScores
from models.fraud.network import FraudNetwork, FraudNetworkConfig
from models.fraud.simulator import DAY_MS, SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from models.fraud.tuning import TUNED, Trial, Tuned, chosen, keep_choice, read_choices, search
from tests.fakes.model import bare_manifest

WORLD = SimulatorConfig(customers=250, terminals=300, radius=15.0, seed=8, start="2018-06-01")
STARTS = ("2018-07-18", "2018-07-11")
LOGISTIC = Baseline("logistic_book", "logistic", "book", {"A": ({"C": (1.0,)},), "B": ()})
SMALL: dict[str, dict[str, Any]] = {
    "logistic_book": {"C": 1.0},
    "random_forest_book": {"n_estimators": 5, "max_depth": 4, "min_samples_leaf": 2},
    "xgboost_book": {"n_estimators": 5, "max_depth": 2, "tree_method": "exact"},
    "lightgbm_book": {"n_estimators": 5, "num_leaves": 4},
    "xgboost": {"n_estimators": 5, "max_depth": 2, "tree_method": "hist", "max_bin": 64},
    "lightgbm": {"n_estimators": 5, "num_leaves": 4},
}


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 70)


@pytest.fixture(scope="module")
def matrices(history: Transactions) -> dict[Any, np.ndarray]:
    book = book_features(history)
    return {"book": book, "ours": book[:, ::2]}


SMALLEST = FraudNetworkConfig(hidden=2, head=4)


class RightNetworks:
    """Networks of a fold that are right, but for a noise of their own; novelty is noise alone."""

    def __init__(
        self, history: Transactions, start: str, mode: str, folder: Path | None = None
    ) -> None:
        del folder
        self._history, self._name = history, f"{start} {mode}"

    def scores(self, seed: int, on_progress: Any = None) -> FoldScores:
        on_progress(1, 1, 0.5)
        noise = np.random.default_rng([seed, len(self._name)]).random(len(self._history))
        novelty = noise.astype(np.float32)
        scores = ((self._history.is_fraud + noise) / 2).astype(np.float32)
        manifest = bare_manifest(SMALLEST, str(seed), f"{self._name} {seed}")
        return FoldScores(scores, novelty, FraudNetwork(SMALLEST), manifest)


def test_both_modes_end_with_the_training_week_and_only_b_goes_back(history: Transactions) -> None:
    week, all_known = (training_rows(history, STARTS[0], mode) for mode in ("A", "B"))
    day = (history.event_time - history.event_time[0] // DAY_MS * DAY_MS) // DAY_MS
    assert np.unique(day[week]).tolist() == list(range(47, 54))
    assert np.unique(day[all_known]).tolist() == list(range(30, 54))


def test_nothing_that_is_learned_from_is_less_than_a_week_old_when_the_test_begins(
    history: Transactions,
) -> None:
    for start in STARTS:
        first = history.event_time[Fold.of(history, start).rows[0]] // DAY_MS * DAY_MS
        for mode in ("A", "B"):
            learned = history.event_time[training_rows(history, start, mode)]
            assert learned.max() < first - 7 * DAY_MS


def test_a_fold_that_the_data_does_not_cover_is_refused(history: Transactions) -> None:
    with pytest.raises(DataError, match="is no first day of a fold"):
        Fold.of(history, "in July")
    with pytest.raises(DataError, match="has not both frauds and genuine"):
        Fold.of(history, "2018-08-15")
    with pytest.raises(DataError, match="no fraud to learn from in mode B"):
        training_rows(history, "2018-06-10", "B")
    with pytest.raises(DataError, match="no fraud to learn from in mode A"):
        training_rows(history.take(slice(0, 0)), "2018-06-10", "A")


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_every_baseline_learns_and_repeats_itself(
    baseline: Baseline, history: Transactions, matrices: dict[Any, np.ndarray]
) -> None:
    fold, learned = Fold.of(history, STARTS[0]), training_rows(history, STARTS[0], "B")
    once, again = (
        fit_predict(
            baseline,
            SMALL[baseline.name],
            x=matrices[baseline.inputs],
            truth=history.is_fraud,
            learned=learned,
            judged=fold.rows,
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)
    assert fold.metrics(once)["auc"] > 0.6


def test_a_model_sees_nothing_of_the_rows_that_it_may_not_learn_from(
    history: Transactions, matrices: dict[Any, np.ndarray]
) -> None:
    fold, learned = Fold.of(history, STARTS[0]), training_rows(history, STARTS[0], "A")
    other = np.where(learned, history.is_fraud, ~history.is_fraud)
    one, two = (
        fit_predict(
            LOGISTIC, {"C": 1.0}, x=matrices["book"], truth=truth, learned=learned, judged=fold.rows
        )
        for truth in (history.is_fraud, other)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: baseline.name)
def test_thinned_genuine_rows_weigh_what_they_stand_for(
    baseline: Baseline, history: Transactions, matrices: dict[Any, np.ndarray]
) -> None:
    whole, thinned = (Contest.over(history, STARTS, "B", matrices, share) for share in (1.0, 0.25))
    for all_rows, left in zip(whole.learned, thinned.learned, strict=True):
        genuine = ~history.is_fraud
        assert (left <= all_rows).all()
        assert (left & ~genuine).sum() == (all_rows & ~genuine).sum()
        share = (left & genuine).sum() / (all_rows & genuine).sum()
        assert share == pytest.approx(0.25, abs=0.03)
    fold, matrix = thinned.folds[0], thinned.matrices[baseline.inputs]
    mean = [
        fit_predict(
            baseline,
            SMALL[baseline.name],
            x=matrix,
            truth=history.is_fraud,
            learned=thinned.learned[0],
            judged=fold.rows,
            genuine_weight=weight,
        ).mean()
        for weight in (1.0, 4.0)
    ]
    # Without weights there are four times as many frauds among what it learns from.
    assert mean[0] > 1.5 * mean[1]


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ModelError, match=r"need xgboost: pip install 'tocsin\[eval\]'"):
        require_libraries()


def test_the_search_tries_the_whole_grid_and_keeps_the_best(
    history: Transactions, matrices: dict[Any, np.ndarray], tmp_path: Path
) -> None:
    contest = Contest.over(history, STARTS, "A", matrices)
    grid = replace(LOGISTIC, grids={"A": ({"C": (1e-9, 1.0)}, {"C": (1e-8,)}), "B": ()})
    notes: list[str] = []
    found = search(contest, grid, notes.append)
    assert [trial.params["C"] for trial in found.trials] == [1e-9, 1.0, 1e-8]
    assert found.params == max(found.trials, key=lambda trial: trial.ap).params == found.best.params
    assert (found.starts, found.inputs) == (list(STARTS), 15)
    assert notes == [f"logistic_book {start}" for start in STARTS] * 3

    path = tmp_path / "tuned.json"
    other = Tuned(params={}, starts=[], inputs=0, genuine_share=1.0, trials=[])
    keep_choice("B", "logistic_book", other, path)
    keep_choice("A", "logistic_book", found, path)
    assert read_choices(path) == {"A": {"logistic_book": found}, "B": {"logistic_book": other}}
    assert chosen([LOGISTIC], "A", path) == {"logistic_book": found.params}


def test_parameters_that_are_missing_or_damaged_ask_for_tune(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    with pytest.raises(DataError, match="no parameters of logistic_book in mode A: run --tune"):
        chosen([LOGISTIC], "A", path)
    path.write_text("{]")
    with pytest.raises(DataError, match="tune again"):
        read_choices(path)


@pytest.mark.parametrize("mode", ["A", "B"])
def test_the_committed_choices_are_the_best_of_a_search_of_the_whole_grid(mode: Any) -> None:
    choices = read_choices(TUNED)[mode]
    assert set(choices) == {baseline.name for baseline in BASELINES}
    for baseline in BASELINES:
        tuned = choices[baseline.name]
        assert [trial.params for trial in tuned.trials] == baseline.candidates(mode)
        assert tuned.params == tuned.best.params
        assert not set(tuned.starts) & {"2018-08-15", "2018-08-08", "2018-08-01", "2018-07-25"}


def test_the_best_of_equals_is_the_first() -> None:
    trials = [
        Trial(params={"C": place}, auc=0.5, ap=ap, cp100=0.1, seconds=1.0)
        for place, ap in enumerate((0.1, 0.3, 0.3))
    ]
    assert Tuned(params={}, starts=[], inputs=1, genuine_share=1.0, trials=trials).best is trials[1]


def test_the_report_has_everybody_on_the_same_folds(
    history: Transactions, matrices: dict[Any, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "FoldNetworks", RightNetworks)
    parts: list[tuple[int, str]] = []
    plan = Plan("B", STARTS, 2, BASELINES, SMALL, oracle=True)
    report = compare(history, matrices, plan, lambda done, note: parts.append((done, note)))

    assert (report["mode"], report["train_starts"], report["seeds"]) == ("B", list(STARTS), 2)
    assert [fold["start"] for fold in report["folds"]] == list(STARTS)
    for fold in report["folds"]:
        mean, std = mean_and_std(fold["seeds"])
        assert {name: fold[name] for name in METRICS} == mean
        assert fold["std"] == std
        assert fold["frauds"] < fold["judged"]
        assert [run["sha256"] for run in fold["seeds"]] == [
            f"{fold['start']} B {seed}" for seed in range(2)
        ]
    mean, std = mean_and_std(report["folds"])
    assert (report["mean"], report["std"]) == (mean, std)
    assert list(report["baselines"]) == [baseline.name for baseline in BASELINES]
    for row in (*report["baselines"].values(), report["ceiling"]):
        assert [fold["start"] for fold in row["folds"]] == list(STARTS)
        assert {name: row[name] for name in METRICS} == mean_and_std(row["folds"])[0]
    assert report["mean"]["ap"] > report["unsupervised"]["novelty"]["ap"]
    assert report["mean"]["ap"] > report["ceiling"]["ap"] > report["baselines"]["xgboost"]["ap"]
    assert max(done for done, _ in parts) == plan.parts - 1
    assert (0, "network 2018-07-18 seed 0: step 1 of 1, loss 0.5000") in parts


def test_network_baselines_and_ceiling_can_each_be_left_out(
    history: Transactions, matrices: dict[Any, np.ndarray]
) -> None:
    alone = compare(history, matrices, Plan("A", STARTS, 0, [LOGISTIC], SMALL))
    assert (alone["mean"], alone["std"], alone["ceiling"]) == ({}, {}, None)
    assert [fold["start"] for fold in alone["folds"]] == list(STARTS)
    assert list(alone["baselines"]) == ["logistic_book"]

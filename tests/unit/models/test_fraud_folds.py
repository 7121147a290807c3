from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import DataError
from models.fraud import fitting, folds
from models.fraud.comparison import Plan, compare
from models.fraud.evaluation import Fold, Mode, training_rows
from models.fraud.folds import FoldNetworks, FoldScores
from models.fraud.network import FraudNetworkConfig
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.training import FitConfig, OnProgress, TrainingConfig, fingerprint
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
    sha256, judged = first.manifest.sha256, Fold.of(history, START).rows
    for said in (first.scores, first.novelty):
        assert np.isfinite(said[: judged[-1] + 1]).all()
        assert np.isnan(said[judged[-1] + 1 :]).all()

    # Labels of the week before the test week, and later ones, teach nothing; an older one does.
    after = np.arange(len(history)) > np.flatnonzero(learned)[-1]
    young = fold_scores(with_labels(history, after & ~_week(history)), START, mode, 0)
    assert young.manifest.sha256 == sha256
    one = np.zeros(len(history), np.bool_)
    one[np.flatnonzero(learned)[-1]] = True
    assert fold_scores(with_labels(history, one), START, mode, 0).manifest.sha256 != sha256


def _week(history: Transactions) -> np.ndarray:
    """The test week, whose frauds say which rows are judged."""
    rows = Fold.of(history, START).rows
    week = np.zeros(len(history), np.bool_)
    week[rows[0] : rows[-1] + 1] = True
    return week


def test_a_seed_repeats_itself(history: Transactions) -> None:
    one, two, other = (fold_scores(history, START, "A", seed) for seed in (1, 1, 2))
    assert one.manifest.sha256 == two.manifest.sha256 != other.manifest.sha256
    np.testing.assert_array_equal(one.scores, two.scores)


def test_what_comes_after_the_test_week_changes_nothing(history: Transactions) -> None:
    end = int(Fold.of(history, START).rows[-1]) + 1
    whole = fold_scores(history, START, "B", 0)
    cut = fold_scores(history.take(slice(0, end)), START, "B", 0)
    assert whole.manifest.sha256 == cut.manifest.sha256
    np.testing.assert_array_equal(whole.scores[:end], cut.scores)


def test_a_network_says_what_it_learned_from_and_how_well_it_does(history: Transactions) -> None:
    said = fold_scores(history, START, "B", 3)
    fold, learned = Fold.of(history, START), training_rows(history, START, "B")
    manifest, training = said.manifest, said.manifest.training
    assert (manifest.name, manifest.version) == ("fold", START)
    assert manifest.metrics == fold.metrics(said.scores[fold.rows])
    until = history.take(slice(0, int(fold.rows[-1]) + 1))
    assert training["data"] == {"fingerprint": fingerprint(until)}
    assert training["transactions"] == len(until)
    assert training["learned_from"] == int(learned.sum())
    assert training["frauds"] == int((learned & history.is_fraud).sum())
    assert (training["mode"], training["seed"], training["epochs"]) == ("B", 3, 1)
    assert training["curve"]


# -- interrupted and resumed ----------------------------------------------------------------------
STARTS = (START, "2018-07-01")


class Interrupted(Exception):
    """Stands for a machine that goes down."""


class Trained:
    """Notes which trainings took steps, and goes down in one of them."""

    def __init__(self, until: tuple[str, int] | None = None) -> None:
        self._until = until
        self.steps: dict[str, list[int]] = {}

    def __call__(self, done: int, note: str) -> None:
        del done
        network, _, step = note.partition(": step ")
        if not step:
            return
        at = int(step.split()[0])
        self.steps.setdefault(network, []).append(at)
        if (network, at) == self._until:
            raise Interrupted


def figures(found: Any) -> str:
    """A report without the seconds that its parts took; as text, in which nan is nan."""

    def timeless(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: timeless(one) for key, one in found.items() if key != "seconds"}
        return [timeless(one) for one in found] if isinstance(found, list) else found

    return repr(timeless(found))


def test_an_evaluation_that_was_interrupted_goes_on_to_the_same_figures(
    history: Transactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY_S", -1.0)  # after every step
    plan = Plan("B", STARTS, 2, ())
    whole = Trained()
    expected = figures(compare(history, {}, plan, whole))
    last = f"network {STARTS[1]} seed 0"  # the third of four networks
    kept = replace(plan, folder=tmp_path)
    for step in (3, 5):
        with pytest.raises(Interrupted):
            compare(history, {}, kept, Trained((last, step)))
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"{START}-B-{seed}.{end}" for seed in (0, 1) for end in ("json", "safetensors")),
        f"{STARTS[1]}-B-0.checkpoint",
    }
    rest = Trained()
    assert figures(compare(history, {}, kept, rest)) == expected
    assert list(rest.steps) == [last, f"network {STARTS[1]} seed 1"]
    assert rest.steps[last][0] == 5  # the step that was interrupted before its checkpoint
    assert len(whole.steps[last]) == 6


def test_networks_of_another_evaluation_are_refused_and_kept(
    history: Transactions, tmp_path: Path
) -> None:
    FoldNetworks(history, START, "A", tmp_path).scores(0)
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(kept) == 2
    others = (
        replace(history, amount=history.amount + 1.0),
        replace(history, terminal_id=history.terminal_id[::-1].copy()),
    )
    for other in others:
        with pytest.raises(DataError, match=r"2018-07-04-A-0\.json is a network of another eval"):
            FoldNetworks(other, START, "A", tmp_path).scores(0)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_progress_is_told(history: Transactions) -> None:
    steps: list[tuple[int, int]] = []
    fold_scores(history, START, "A", 0, lambda step, total, loss: steps.append((step, total)))
    assert steps[-1][0] == steps[-1][1] == len(steps)

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from models.checkpoint import Manifest, save
from models.errors import DataError
from models.fraud import fitting
from models.fraud.calibration import expected_calibration_error
from models.fraud.dataset import (
    DAY_MS,
    UNLABELLED,
    Dataset,
    build,
    offline_scores,
    verdict_times,
)
from models.fraud.fitting import CURVE_POINTS, FitConfig, fit
from models.fraud.network import FraudNetwork, FraudNetworkConfig, load_fraud
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.training import TrainingConfig, train
from models.fraud.transactions import Transactions

WORLD = SimulatorConfig(customers=200, terminals=400, radius=10.0, seed=1)
QUICK = TrainingConfig(
    network=FraudNetworkConfig(hidden=8, head=16),
    fit=FitConfig(epochs=4, cards_at_once=20, steps_at_once=32),
    warmup_days=10,
    holdout_days=10,
    data={"source": "simulator", "seed": 1},
)


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 50)


def same(one: FraudNetwork, two: FraudNetwork) -> bool:
    """Whether weights and buffers agree to the bit."""
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def trained(history: Transactions) -> tuple[FraudNetwork, Manifest]:
    return train(history, QUICK)


def test_a_trained_network_beats_chance_and_its_manifest_says_how_it_came_about(
    history: Transactions, tmp_path: Path
) -> None:
    steps: list[tuple[int, int, float]] = []
    network, manifest = train(history, QUICK, on_progress=lambda *step: steps.append(step))
    assert manifest.metrics["auc"] > 0.6
    assert manifest.metrics["alert_share"] == pytest.approx(0.006, abs=0.002)
    assert 0 < manifest.threshold < 1
    described = manifest.training["data"]
    assert (described["source"], described["seed"]) == ("simulator", 1)
    assert len(described["fingerprint"]) == 16
    assert (manifest.training["days"], manifest.training["epochs"]) == (50, 4)
    total = steps[-1][1]
    assert [step for step, _, _ in steps] == list(range(1, total + 1))
    curve = manifest.training["curve"]
    assert 0.8 * CURVE_POINTS <= len(curve) <= CURVE_POINTS
    assert [step for step, _ in curve] == sorted({step for step, _ in curve})
    assert curve[-1][1] < curve[0][1]

    sealed = save(tmp_path / "quick", network, manifest)
    again, found = load_fraud(tmp_path / "quick.json")
    assert found == sealed
    assert same(network, again)


def test_training_calibrates_and_says_what_missing_genuine_labels_cost(
    trained: tuple[FraudNetwork, Manifest], history: Transactions
) -> None:
    network, manifest = trained
    metrics, clock, truth = manifest.metrics, history.event_time, history.is_fraud
    assert network.calibration.tolist() != [1.0, 0.0]
    assert 0 < metrics["ece"] < metrics["ece_uncalibrated"]

    held = clock > clock[-1] - 10 * DAY_MS
    middle = clock[-1] + 1 - 5 * DAY_MS
    scores = offline_scores(network, build(history, network.config.large_amount))
    late = held & (clock >= middle)
    assert expected_calibration_error(truth[late], scores[late]) == pytest.approx(
        metrics["ece"], abs=1e-5
    )
    # Frauds are labelled after a week, genuine transactions never.
    labelled_at = np.full(len(clock), UNLABELLED)
    labelled_at[truth] = clock[truth] + 7 * DAY_MS
    poorer = offline_scores(network, build(history, network.config.large_amount, labelled_at))
    for figure, said in (("ap", scores), ("ap_if_only_frauds_are_labelled", poorer)):
        expected = average_precision_score(truth[held], said[held])
        assert metrics[figure] == pytest.approx(expected, abs=2e-6)
    assert metrics["ap_if_only_frauds_are_labelled"] != metrics["ap"]


def test_the_same_seed_trains_the_same_network(history: Transactions) -> None:
    one, two, other = (
        train(history, replace(QUICK, fit=replace(QUICK.fit, epochs=1, seed=seed)))[0].out.weight
        for seed in (3, 3, 4)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_history_that_is_too_short_is_refused(history: Transactions) -> None:
    with pytest.raises(DataError, match="give a longer history"):
        train(history.take(slice(0, 1000)), QUICK)
    with pytest.raises(DataError, match="give a longer history"):
        train(history.take(slice(0, 0)), QUICK)


def test_nothing_is_learned_from_a_verdict_that_was_not_known_at_the_split(
    history: Transactions,
) -> None:
    quick = replace(QUICK, fit=replace(QUICK.fit, epochs=1))
    end = int(history.event_time[-1]) + 1
    split = end - 10 * DAY_MS
    known = verdict_times(history.event_time, 7.0)
    unknown = (known >= split) & (history.event_time < split)
    assert unknown.sum() > 1000
    _, manifest = train(history, quick)
    first = int(history.event_time[0]) + 10 * DAY_MS
    due = (history.event_time >= first) & (known < split)
    assert manifest.training["learned_from"] == int(due.sum())


# -- interrupted and resumed ----------------------------------------------------------------------
class Interrupted(Exception):
    """Stands for a machine that goes down."""


NETWORK = FraudNetworkConfig(hidden=8, head=16)
FIT = FitConfig(epochs=2, cards_at_once=20, steps_at_once=32)


@pytest.fixture(scope="module")
def data(history: Transactions) -> Dataset:
    return build(history, 200.0)


@pytest.fixture(scope="module")
def learned(history: Transactions) -> np.ndarray:
    days = (history.event_time - history.event_time[0]) // DAY_MS
    return (days >= 10) & (days < 33)


def interrupt_at(steps: int) -> Callable[[int, int, float], None]:
    def on_progress(step: int, total: int, loss: float) -> None:
        del loss
        assert steps < total
        if step == steps:
            raise Interrupted

    return on_progress


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints after every step."""
    monkeypatch.setattr(fitting, "CHECKPOINT_EVERY_S", -1.0)


@pytest.mark.usefixtures("eager")
def test_a_training_that_was_interrupted_goes_on_to_the_same_weights(
    data: Dataset, learned: np.ndarray, tmp_path: Path
) -> None:
    whole, curve = fit(data, learned, NETWORK, FIT)
    checkpoint = tmp_path / "quick.checkpoint"
    for steps in (2, 7, 20):  # a group's first part, and parts that go on with a memory
        with pytest.raises(Interrupted):
            fit(
                data,
                learned,
                NETWORK,
                FIT,
                checkpoint=checkpoint,
                on_progress=interrupt_at(steps),
            )
        assert checkpoint.exists()
    seen: list[int] = []
    resumed, resumed_curve = fit(
        data,
        learned,
        NETWORK,
        FIT,
        checkpoint=checkpoint,
        on_progress=lambda step, total, loss: seen.append(step),
    )
    assert seen[0] == 20  # the step that was interrupted before its checkpoint
    assert same(whole, resumed)
    assert resumed_curve == curve
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("eager")
def test_the_checkpoint_of_another_training_is_refused_and_kept(
    data: Dataset, learned: np.ndarray, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "quick.checkpoint"
    with pytest.raises(Interrupted):
        fit(data, learned, NETWORK, FIT, checkpoint=checkpoint, on_progress=interrupt_at(3))
    written = checkpoint.read_bytes()
    lied = replace(
        data, transactions=replace(data.transactions, is_fraud=~data.transactions.is_fraud)
    )
    later = learned & (data.transactions.event_time > data.transactions.event_time[0] + 12 * DAY_MS)
    others = [
        (data, learned, NETWORK, replace(FIT, seed=1)),
        (data, learned, replace(NETWORK, head=8), FIT),
        (replace(data, x=data.x + 1), learned, NETWORK, FIT),
        (data, later, NETWORK, FIT),
        (lied, learned, NETWORK, FIT),
    ]
    for other in others:
        with pytest.raises(DataError, match=r"quick\.checkpoint is the checkpoint of another"):
            fit(*other, checkpoint=checkpoint)
        assert checkpoint.read_bytes() == written


@pytest.mark.parametrize("kind", ["text", "empty", "torch", "list", "folder", "cut", "changed"])
@pytest.mark.usefixtures("eager")
def test_a_file_that_is_no_checkpoint_is_refused_in_one_line(
    data: Dataset, learned: np.ndarray, tmp_path: Path, kind: str
) -> None:
    checkpoint = tmp_path / "quick.checkpoint"
    if kind in {"cut", "changed"}:
        with pytest.raises(Interrupted):
            fit(data, learned, NETWORK, FIT, checkpoint=checkpoint, on_progress=interrupt_at(3))
        written = checkpoint.read_bytes()
        changed = written.replace(b"optimizer", b"optimist.")
        checkpoint.write_bytes(changed if kind == "changed" else written[:-1000])
    elif kind in {"torch", "list"}:
        torch.save({"step": 3} if kind == "torch" else [3], checkpoint)
    elif kind == "folder":
        checkpoint.mkdir()
    else:
        checkpoint.write_bytes(b"no checkpoint" if kind == "text" else b"")
    with pytest.raises(DataError, match="is no checkpoint: delete it to start afresh") as refused:
        fit(data, learned, NETWORK, FIT, checkpoint=checkpoint)
    assert "\n" not in str(refused.value)

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint import save
from models.errors import DataError
from models.fraud.network import FraudNetworkConfig, load_fraud
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.training import TrainingConfig, train
from models.fraud.transactions import Transactions

WORLD = SimulatorConfig(customers=200, terminals=400, radius=10.0, seed=1)
QUICK = TrainingConfig(
    network=FraudNetworkConfig(hidden=8, head=16),
    epochs=4,
    cards_at_once=20,
    steps_at_once=32,
    warmup_days=10,
    holdout_days=10,
    data={"source": "simulator", "seed": 1},
)


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 50)


def test_a_trained_network_beats_chance_and_its_manifest_says_how_it_came_about(
    history: Transactions, tmp_path: Path
) -> None:
    steps: list[tuple[int, int, float]] = []
    network, manifest = train(history, QUICK, lambda *step: steps.append(step))
    assert manifest.metrics["auc"] > 0.6
    assert manifest.metrics["alert_share"] == pytest.approx(0.006, abs=0.002)
    assert 0 < manifest.threshold < 1
    assert manifest.training["data"] == {"source": "simulator", "seed": 1}
    assert (manifest.training["days"], manifest.training["epochs"]) == (50, 4)
    assert [step for step, _, _ in steps] == list(range(1, steps[-1][1] + 1))

    sealed = save(tmp_path / "quick", network, manifest)
    again, found = load_fraud(tmp_path / "quick.json")
    assert found == sealed
    assert all(
        (one == two).all()
        for one, two in zip(network.parameters(), again.parameters(), strict=True)
    )


def test_the_same_seed_trains_the_same_network(history: Transactions) -> None:
    one, two, other = (
        train(history, replace(QUICK, epochs=1, seed=seed))[0].out.weight for seed in (3, 3, 4)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_history_that_is_too_short_is_refused(history: Transactions) -> None:
    with pytest.raises(DataError, match="give a longer history"):
        train(history.take(slice(0, 1000)), QUICK)
    with pytest.raises(DataError, match="give a longer history"):
        train(history.take(slice(0, 0)), QUICK)

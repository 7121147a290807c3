import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import load, save
from models.errors import ArtifactError
from models.fraud.network import BUNDLED, FEATURES, FraudNetwork, FraudNetworkConfig, load_fraud
from models.fraud.sequences import SequencePlan, plan_sequences

SMALL = FraudNetworkConfig(card_features=4, profile_features=3, hidden=8, head=6)


@pytest.fixture
def network() -> FraudNetwork:
    torch.manual_seed(1)
    return FraudNetwork(SMALL).eval()


def batch(rows: list[int]) -> tuple[SequencePlan, torch.Tensor, torch.Tensor]:
    """The plan of a batch, its card features and its risk in order of arrival."""
    torch.manual_seed(2)
    return (
        plan_sequences(np.array(rows, np.int64)),
        torch.randn(len(rows), 4),
        torch.randn(len(rows), 3),
    )


def scores_of(network: FraudNetwork, rows: list[int], cuts: list[int]) -> torch.Tensor:
    """Scores in order of arrival, and the memory of all rows below, over batches cut at `cuts`."""
    _, x, risk = batch(rows)
    hidden, scores = torch.zeros(10, 8), torch.zeros(len(rows))
    edges = [0, *cuts, len(rows)]
    for begin, end in pairwise(edges):
        plan = plan_sequences(np.array(rows[begin:end], np.int64))
        at, lanes = torch.from_numpy(plan.packed + begin), torch.from_numpy(plan.rows)
        out, after = network.step(x[at], torch.from_numpy(plan.sizes), hidden[lanes], risk[at])
        scores[at], hidden[lanes] = out, after
    return torch.cat([scores, hidden.flatten()])


def test_an_empty_batch_has_no_scores_and_changes_no_memory(network: FraudNetwork) -> None:
    plan, x, risk = batch([])
    scores, hidden = network.step(x, torch.from_numpy(plan.sizes), torch.zeros(0, 8), risk)
    assert scores.shape == (0,)
    assert hidden.shape == (0, 8)


def test_serving_a_batch_equals_the_training_pass_over_each_row(network: FraudNetwork) -> None:
    rows = [3, 1, 3, 3, 0, 1]
    plan, x, risk = batch(rows)
    at = torch.from_numpy(plan.packed)
    scores, hidden = network.step(x[at], torch.from_numpy(plan.sizes), torch.zeros(3, 8), risk[at])
    for lane, row in enumerate(plan.rows.tolist()):
        mine = torch.tensor([i for i, other in enumerate(rows) if other == row])
        logits, last = network(x[mine][:, None], risk[mine][:, None], torch.zeros(1, 8))
        slots = torch.from_numpy(plan.lane == lane)
        torch.testing.assert_close(scores[slots], torch.sigmoid(logits[:, 0]))
        torch.testing.assert_close(hidden[lane], last[0])


@pytest.mark.parametrize("cuts", [[1], [2, 3], [1, 2, 3, 4, 5, 6, 7]])
def test_where_the_stream_is_cut_changes_no_score(network: FraudNetwork, cuts: list[int]) -> None:
    rows = [3, 1, 3, 3, 0, 1, 3, 9]
    torch.testing.assert_close(scores_of(network, rows, cuts), scores_of(network, rows, []))


def test_risk_never_enters_the_memory(network: FraudNetwork) -> None:
    plan, x, risk = batch([1, 1, 2])
    sizes = torch.from_numpy(plan.sizes)
    one = network.step(x, sizes, torch.zeros(2, 8), risk)
    two = network.step(x, sizes, torch.zeros(2, 8), risk + 1)
    assert (one[1] == two[1]).all()
    assert (one[0] != two[0]).any()


def test_scores_are_probabilities(network: FraudNetwork) -> None:
    plan, x, risk = batch([1, 2, 2])
    scores, _ = network.step(x * 100, torch.from_numpy(plan.sizes), torch.zeros(2, 8), risk * 100)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_bundled_network_loads_and_says_what_it_can_do() -> None:
    network, manifest = load_fraud()
    assert not network.training
    assert (manifest.name, manifest.version) == ("fraud", "1")
    assert manifest.features == {group: list(names) for group, names in FEATURES.items()}
    assert 0 < manifest.threshold < 1
    assert manifest.metrics["ap"] > 0.7
    assert manifest.training["data"]["source"] == "simulator"


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    _, manifest = load(BUNDLED)
    save(tmp_path / "other", FraudNetwork(FraudNetworkConfig(hidden=8)), manifest)
    with pytest.raises(ArtifactError, match="another network"):
        load_fraud(tmp_path / "other.json")


def test_a_config_that_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    network, manifest = load_fraud()
    save(tmp_path / "new", network, manifest)
    written = json.loads((tmp_path / "new.json").read_text())
    written["config"]["layers"] = 2
    (tmp_path / "new.json").write_text(json.dumps(written))
    with pytest.raises(ArtifactError, match="another network"):
        load_fraud(tmp_path / "new.json")


@pytest.mark.gpu
def test_a_gpu_gives_the_same_scores() -> None:
    network, _ = load_fraud()
    torch.manual_seed(3)
    plan = plan_sequences(np.random.default_rng(3).integers(0, 50, 500))
    x, risk = torch.randn(500, 17), torch.randn(500, 17)
    hidden, sizes = torch.zeros(len(plan.rows), 64), torch.from_numpy(plan.sizes)
    scores, after = network.step(x, sizes, hidden, risk)
    network.cuda()
    there = network.step(x.cuda(), sizes, hidden.cuda(), risk.cuda())
    torch.testing.assert_close(there[0].cpu(), scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(there[1].cpu(), after, rtol=1e-3, atol=1e-3)

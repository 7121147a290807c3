import copy
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models.checkpoint import load, save
from models.errors import ArtifactError
from models.fraud.features import CARD_FEATURES
from models.fraud.network import (
    BUNDLED,
    FEATURES,
    LOG_AMOUNT,
    TABLES,
    FraudNetwork,
    FraudNetworkConfig,
    load_fraud,
    memory_before,
)
from models.fraud.profile import MAX_DAYS, PROFILE_FEATURES
from models.fraud.sequences import SequencePlan, plan_sequences

SMALL = FraudNetworkConfig(hidden=8, head=6)
F, P = len(CARD_FEATURES), len(PROFILE_FEATURES)


@pytest.fixture
def network() -> FraudNetwork:
    """Random weights, learned rows among them, and steps of the amount."""
    torch.manual_seed(1)
    network = FraudNetwork(SMALL).eval()
    nn.init.normal_(network.rows.weight)
    network.measure(torch.randn(1000))
    return network


def batch(rows: list[int]) -> tuple[SequencePlan, torch.Tensor, torch.Tensor]:
    """The plan of a batch, its card features and its risk in order of arrival."""
    torch.manual_seed(2)
    return (
        plan_sequences(np.array(rows, np.int64)),
        torch.randn(len(rows), F),
        torch.randn(len(rows), P),
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
        memory, last = network.remember(x[mine][:, None], torch.zeros(1, 8))
        logits = network.judge(memory[:, 0], x[mine], risk[mine])
        slots = torch.from_numpy(plan.lane == lane)
        torch.testing.assert_close(scores[slots], torch.sigmoid(logits))
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


def test_padding_behind_a_cards_end_changes_nothing_before_it(network: FraudNetwork) -> None:
    torch.manual_seed(6)
    x, before = torch.randn(5, 3, F), torch.randn(3, 8)
    whole, _ = network.remember(x, before)
    padded = x.clone()
    padded[3:, 1] = 0.0
    found, _ = network.remember(padded, before)
    torch.testing.assert_close(found[:3, 1], whole[:3, 1])
    torch.testing.assert_close(found[:, 0], whole[:, 0])


# -- learned rows ---------------------------------------------------------------------------------
def logits_of(network: FraudNetwork, x: torch.Tensor, risk: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return network.judge(torch.zeros(len(x), 8), x, risk)


def without_rows(network: FraudNetwork) -> FraudNetwork:
    plain = copy.deepcopy(network)
    nn.init.zeros_(plain.rows.weight)
    return plain


@pytest.mark.parametrize("table", range(len(TABLES)))
def test_each_number_of_days_has_its_row_in_each_table(network: FraudNetwork, table: int) -> None:
    nn.init.zeros_(network.rows.weight)
    column = PROFILE_FEATURES.index(TABLES[table])
    days = torch.arange(MAX_DAYS + 1)
    risk = torch.full((len(days), P), 1.0)  # every table at its last row
    risk[:, column] = days / 30 - 1
    x = torch.zeros(len(days), F)
    plain = logits_of(network, x, risk)
    for day in (0, 1, 7, 33, MAX_DAYS):
        with torch.no_grad():
            network.rows.weight.zero_()
            network.rows.weight[table * (MAX_DAYS + 1) + day] = 1.0
        moved = logits_of(network, x, risk) != plain
        assert moved.nonzero().flatten().tolist() == [day]


def test_days_outside_the_table_take_its_first_and_its_last_row(network: FraudNetwork) -> None:
    x, plain = torch.zeros(2, F), without_rows(network)
    far, edge = torch.zeros(2, P), torch.zeros(2, P)
    columns = [PROFILE_FEATURES.index(name) for name in TABLES]
    far[0, columns], far[1, columns] = -2.0, 5.0
    edge[0, columns], edge[1, columns] = -1.0, 1.0
    # Nothing but the rows may tell the two apart.
    nn.init.zeros_(network.from_profile.weight)
    nn.init.zeros_(plain.from_profile.weight)
    torch.testing.assert_close(logits_of(network, x, far), logits_of(network, x, edge))
    assert (logits_of(network, x, far) != logits_of(plain, x, far)).all()


def test_an_amount_picks_the_row_of_its_step(network: FraudNetwork) -> None:
    steps = network.amount_steps.copy_(torch.linspace(-3.0, 3.0, len(network.amount_steps)))
    first = (MAX_DAYS + 1) * len(TABLES)
    x, risk = torch.zeros(len(steps) + 1, F), torch.ones(len(steps) + 1, P)
    x[:-1, LOG_AMOUNT] = steps  # a step ends with its bound
    nn.init.zeros_(network.from_transaction.weight)
    x[-1, LOG_AMOUNT] = steps[-1] + 1
    nn.init.zeros_(network.rows.weight)
    plain = logits_of(network, x, risk)
    for step in (0, 1, 20, len(steps) - 1, len(steps)):
        with torch.no_grad():
            network.rows.weight.zero_()
            network.rows.weight[first + step] = 1.0
        moved = logits_of(network, x, risk) != plain
        assert moved.nonzero().flatten().tolist() == [step]


def test_steps_are_quantiles_of_the_amounts_and_finer_in_the_tail(network: FraudNetwork) -> None:
    amounts = torch.arange(100_000.0)
    network.measure(amounts[torch.randperm(len(amounts))])
    steps = network.amount_steps
    assert (steps.diff() >= 0).all()
    share = (steps / len(amounts)).tolist()
    assert share[0] == pytest.approx(0.9 / 48, abs=1e-3)
    assert sum(value >= 0.9 - 1e-3 for value in share) == 80
    assert share[-1] > 0.9999


def test_calibration_bends_scores_and_neither_logits_nor_memory(network: FraudNetwork) -> None:
    plan, x, risk = batch([1, 1, 2])
    sizes = torch.from_numpy(plan.sizes)
    raw, memory, _ = network.trace(x, sizes, torch.zeros(2, 8), risk)
    network.calibration.copy_(torch.tensor([2.0, -1.0]))
    bent, same, _ = network.trace(x, sizes, torch.zeros(2, 8), risk)
    torch.testing.assert_close(torch.logit(bent), torch.logit(raw) * 2 - 1, rtol=1e-4, atol=1e-4)
    assert (memory == same).all()


# -- novelty --------------------------------------------------------------------------------------
def test_what_the_card_foretold_surprises_less_than_what_it_did_not(network: FraudNetwork) -> None:
    x, before = torch.zeros(3, F), torch.zeros(3, 8)
    times, gap = CARD_FEATURES.index("times_usual"), CARD_FEATURES.index("log_gap")
    x[1:, times] = 1.5
    x[2, gap] = -2.5
    for weights in network.foretell.parameters():
        nn.init.zeros_(weights)
    surprise = network.surprise(before, x)
    assert surprise[0].item() == pytest.approx(0.0)
    assert surprise[1].item() == pytest.approx(0.5 * 1.5**2, rel=1e-5)
    assert (surprise[2] - surprise[1]).item() == pytest.approx(0.5 * 2.5**2, rel=1e-5)


def test_a_surprise_depends_on_the_memory_before_and_never_on_risk(network: FraudNetwork) -> None:
    x = torch.zeros(2, F)
    one, two = network.surprise(torch.stack([torch.zeros(8), torch.ones(8)]), x).tolist()
    assert one != two


def test_novelty_ranks_a_surprise_among_those_of_the_training(network: FraudNetwork) -> None:
    count = len(network.surprise_quantiles)
    network.surprise_quantiles.copy_(torch.linspace(0.0, 10.0, count))
    ranks = network.rank(torch.tensor([-1.0, 5.0, 11.0]))
    assert ranks[0] == 0.0
    assert ranks[1].item() == pytest.approx(0.5, abs=0.01)
    assert ranks[2] == 1.0


def test_memory_before_an_event_is_that_of_feeding_the_events_before_it(
    network: FraudNetwork,
) -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 5, 40)
    plan = plan_sequences(rows)
    x = torch.from_numpy(rng.normal(size=(40, F)).astype(np.float32))
    risk = torch.zeros(40, P)
    before = torch.randn(len(plan.rows), 8)
    packed = x[plan.packed]
    _, memory, _ = network.trace(packed, torch.from_numpy(plan.sizes), before, risk)
    found = memory_before(np.arange(40), plan, before, memory)
    for slot in range(40):
        state = before[plan.lane[slot]][None]
        row = rows[plan.packed[slot]]
        for position in np.flatnonzero(rows == row):
            if position >= plan.packed[slot]:
                break
            _, state = network.step(x[position][None], torch.tensor([1]), state, risk[:1])
        torch.testing.assert_close(found[slot], state[0], rtol=1e-5, atol=1e-5)


# -- scores and artifacts -------------------------------------------------------------------------
def test_scores_are_probabilities(network: FraudNetwork) -> None:
    plan, x, risk = batch([1, 2, 2])
    scores, _ = network.step(x * 100, torch.from_numpy(plan.sizes), torch.zeros(2, 8), risk * 100)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_the_bundled_network_loads_and_says_what_it_can_do() -> None:
    network, manifest = load_fraud()
    assert not network.training
    assert (manifest.name, manifest.version) == ("fraud", "2")
    assert manifest.features == {group: list(names) for group, names in FEATURES.items()}
    assert 0 < manifest.threshold < 1
    assert manifest.metrics["ap"] > 0.7
    assert manifest.training["data"]["source"] == "simulator"
    assert len(manifest.training["curve"]) > 10
    assert 50 < network.config.large_amount < 1000


def test_the_bundled_network_knows_steps_of_amounts_and_ranks_of_surprises() -> None:
    network, _ = load_fraud()
    assert (network.amount_steps.diff() >= 0).all()
    assert network.amount_steps[0] < 0 < network.amount_steps[-1]
    assert (network.surprise_quantiles.diff() >= 0).all()
    assert network.surprise_quantiles[0] < network.surprise_quantiles[-1]
    assert (network.rows.weight != 0).any()


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
    x, risk = torch.randn(500, F), torch.randn(500, P)
    hidden, sizes = torch.zeros(len(plan.rows), 64), torch.from_numpy(plan.sizes)
    scores, after = network.step(x, sizes, hidden, risk)
    network.cuda()
    there = network.step(x.cuda(), sizes, hidden.cuda(), risk.cuda())
    torch.testing.assert_close(there[0].cpu(), scores, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(there[1].cpu(), after, rtol=1e-3, atol=1e-3)


# -- what no label can tell yet -----------------------------------------------------------------
def blind(network: FraudNetwork) -> FraudNetwork:
    """A copy whose head sees no cause at all."""
    copied = copy.deepcopy(network)
    nn.init.zeros_(copied.out.weight)
    nn.init.constant_(copied.out.bias, -1e4)
    return copied


def chance_after(network: FraudNetwork, days: list[int]) -> torch.Tensor:
    """(K,) what a blind network says so many days after the last known genuine transaction."""
    risk = torch.randn(len(days), P)
    at = PROFILE_FEATURES.index("days_since_last_genuine")
    risk[:, at] = torch.tensor(days) / 30 - 1.0
    return torch.sigmoid(logits_of(blind(network), torch.randn(len(days), F), risk))


def test_where_the_head_sees_no_cause_the_chance_is_that_of_a_weibull_hazard(
    network: FraudNetwork,
) -> None:
    with torch.no_grad():
        network.hazard.copy_(torch.tensor([-6.0, 1.5]))
    days = [0, 1, 7, 30, MAX_DAYS]
    expected = [1 - math.exp(-math.exp(-6.0) * (1 + d) ** 1.5) for d in days]
    torch.testing.assert_close(
        chance_after(network, days), torch.tensor(expected), rtol=1e-4, atol=0
    )


def test_the_hazard_and_the_head_are_two_causes_of_which_either_is_enough(
    network: FraudNetwork,
) -> None:
    x, risk = torch.randn(20, F), torch.randn(20, P)
    both = torch.sigmoid(logits_of(network, x, risk))
    unseen = torch.sigmoid(logits_of(blind(network), x, risk))
    with torch.no_grad():
        network.hazard.copy_(torch.tensor([-40.0, 0.0]))
    seen = torch.sigmoid(logits_of(network, x, risk))
    torch.testing.assert_close(1 - both, (1 - seen) * (1 - unseen))


@pytest.mark.parametrize("logit", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_no_logit_is_too_large_or_too_small_for_the_hazard(
    network: FraudNetwork, logit: float
) -> None:
    nn.init.zeros_(network.out.weight)
    nn.init.constant_(network.out.bias, logit)
    x, risk = torch.randn(3, F), torch.randn(3, P)
    loss = network.judge(torch.zeros(3, 8), x, risk).sum()
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())

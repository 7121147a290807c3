"""Reasons: what each group of inputs adds to the score, all of it and nothing twice."""

import numpy as np
import pytest
import torch
from torch import nn

from models.fraud.explanation import GROUPS, contributions
from models.fraud.features import CARD_FEATURES, LARGE_RATIO, card_features, new_card_state
from models.fraud.network import FraudNetwork, FraudNetworkConfig, load_fraud, memory_before
from models.fraud.profile import (
    FRAUD,
    GENUINE,
    LABEL,
    PROFILE_FEATURES,
    apply_labels,
    new_profiles,
    profile_features,
    summarise,
)
from models.fraud.sequences import plan_sequences

HOUR, DAY = 3_600_000, 86_400_000
START = 1_522_540_800_000


@pytest.fixture(scope="module")
def bundled() -> FraudNetwork:
    return load_fraud()[0]


def history(amounts: list[float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One card's transactions, a day apart: features of the last, and the memory before it."""
    network = load_fraud()[0]
    rows = np.zeros(len(amounts), np.int64)
    plan = plan_sequences(rows)
    x, _ = card_features(
        plan,
        amount=np.array(amounts),
        event_time=START + 12 * HOUR + DAY * np.arange(len(amounts)),
        terminal=np.full(len(amounts), 7, np.uint32),
        state=new_card_state(1),
    )
    empty = profile_features(summarise(new_profiles(1), 0.0), np.zeros(1, np.int64))
    risk = torch.from_numpy(np.repeat(empty, len(amounts), 0))
    before = torch.zeros(1, network.config.hidden)
    _, memory, _ = network.trace(torch.from_numpy(x), torch.from_numpy(plan.sizes), before, risk)
    last = np.array([len(amounts) - 1])
    return torch.from_numpy(x[last]), risk[:1], memory_before(last, plan, before, memory)


def compromised() -> torch.Tensor:
    """The profile of a terminal whose last eight known transactions, of 28, are frauds."""
    day = np.arange(28)
    labels = np.zeros(len(day), LABEL)
    labels["tx"], labels["event_time"] = day, START + DAY * day
    labels["labelled_at"] = labels["event_time"] + 7 * DAY
    labels["amount"], labels["ratio"] = 20.0, LARGE_RATIO
    labels["verdict"] = np.where(day < 20, GENUINE, FRAUD)
    plan = plan_sequences(np.zeros(len(day), np.int64))
    profiles, _ = apply_labels(plan, labels, new_profiles(1))
    summary = summarise(profiles, load_fraud()[0].config.large_amount)
    return torch.from_numpy(profile_features(summary, np.array([START + 35 * DAY])))


def neutral(network: FraudNetwork, count: int) -> torch.Tensor:
    """Score of an ordinary transaction of a new card at an unknown terminal, `count` times."""
    nothing = profile_features(summarise(new_profiles(1), 0.0), np.zeros(1, np.int64))
    scores, _ = network.step(
        torch.zeros(count, len(CARD_FEATURES)),
        torch.tensor([count]),
        torch.zeros(count, network.config.hidden),
        torch.from_numpy(np.repeat(nothing, count, 0)),
    )
    return scores


@pytest.mark.parametrize("count", [1, 30])
def test_contributions_sum_to_the_score_less_that_of_an_ordinary_transaction(count: int) -> None:
    torch.manual_seed(count)
    network = FraudNetwork(FraudNetworkConfig(hidden=16, head=32)).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(2.0)
        network.out.bias.zero_()
        network.calibration.copy_(torch.tensor([1.5, 0.3]))
    nn.init.normal_(network.rows.weight)
    x, hidden = torch.randn(count, len(CARD_FEATURES)), torch.randn(count, 16).tanh()
    risk = torch.randn(count, len(PROFILE_FEATURES))
    scores, _ = network.step(x, torch.tensor([count]), hidden, risk)
    rises = torch.from_numpy(contributions(network, x, risk, hidden))
    assert (rises.abs().max(0).values > 1e-3).all()  # every group has a say
    torch.testing.assert_close(rises.sum(1), scores - neutral(network, count), rtol=0, atol=1e-5)
    for k in range(count):  # one alert's reasons owe nothing to those beside it
        alone = contributions(network, x[k : k + 1], risk[k : k + 1], hidden[k : k + 1])
        np.testing.assert_allclose(alone[0], rises[k], rtol=0, atol=1e-5)


def test_a_group_that_is_ordinary_adds_nothing(bundled: FraudNetwork) -> None:
    x, risk, hidden = history([50.0] * 5)
    muted = x.clone()
    muted[:, [CARD_FEATURES.index(name) for name in GROUPS["amount"]]] = 0.0
    rises = contributions(bundled, muted, risk, hidden)[0]
    added = dict(zip(GROUPS, rises.tolist(), strict=True))
    assert added["amount"] == added["terminal_history"] == 0


def test_no_alerts_have_no_contributions(bundled: FraudNetwork) -> None:
    none = contributions(
        bundled,
        torch.zeros(0, len(CARD_FEATURES)),
        torch.zeros(0, len(PROFILE_FEATURES)),
        torch.zeros(0, bundled.config.hidden),
    )
    assert none.shape == (0, len(GROUPS))


def first_named(rises: np.ndarray) -> str:
    return list(GROUPS)[int(rises.argmax())]


def test_an_amount_far_above_the_cards_own_is_named_first(bundled: FraudNetwork) -> None:
    x, risk, hidden = history([20.0] * 30 + [400.0])
    rises = contributions(bundled, x, risk, hidden)[0]
    assert first_named(rises) == "amount"
    assert rises.max() > 0.5


def test_a_compromised_terminal_is_named_first(bundled: FraudNetwork) -> None:
    x, _, hidden = history([20.0] * 31)
    rises = contributions(bundled, x, compromised(), hidden)[0]
    assert first_named(rises) == "terminal_history"
    assert rises.max() > 0.4


def test_groups_hold_every_card_feature_once() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(CARD_FEATURES)

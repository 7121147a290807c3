"""Reasons: a group's contribution is what its absence takes from the score."""

import numpy as np
import pytest
import torch

from models.fraud.explanation import GROUPS, contributions, memory_before
from models.fraud.features import CARD_FEATURES, card_features, new_card_state
from models.fraud.network import FraudNetwork, FraudNetworkConfig, load_fraud
from models.fraud.profile import (
    FRAUD,
    GENUINE,
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
    empty = profile_features(summarise(new_profiles(1)), np.zeros(1, np.int64))
    risk = torch.from_numpy(np.repeat(empty, len(amounts), 0))
    before = torch.zeros(1, network.config.hidden)
    _, memory, _ = network.trace(torch.from_numpy(x), torch.from_numpy(plan.sizes), before, risk)
    last = np.array([len(amounts) - 1])
    return torch.from_numpy(x[last]), risk[:1], memory_before(last, plan, before, memory)


def compromised() -> np.ndarray:
    """The profile of a terminal whose last eight known transactions, of 28, are frauds."""
    day = np.arange(28)
    profiles, _ = apply_labels(
        plan_sequences(np.zeros(len(day), np.int64)),
        tx=day.astype(np.uint64),
        event_time=START + DAY * day,
        labelled_at=START + DAY * (day + 7),
        verdict=np.where(day < 20, GENUINE, FRAUD).astype(np.int8),
        profiles=new_profiles(1),
    )
    return profile_features(summarise(profiles), np.array([START + 35 * DAY]))


def test_no_alerts_have_no_contributions(bundled: FraudNetwork) -> None:
    none = contributions(
        bundled,
        torch.zeros(0, len(CARD_FEATURES)),
        torch.zeros(0, len(PROFILE_FEATURES)),
        torch.zeros(0, bundled.config.hidden),
    )
    assert none.shape == (0, len(GROUPS))


def test_an_amount_far_above_the_cards_own_is_named_first(bundled: FraudNetwork) -> None:
    x, risk, hidden = history([20.0] * 30 + [400.0])
    falls = contributions(bundled, x, risk, hidden)[0]
    assert list(GROUPS)[falls.argmax()] == "amount"
    assert falls.max() > 0.5


def test_a_compromised_terminal_is_named_first(bundled: FraudNetwork) -> None:
    x, _, hidden = history([20.0] * 31)
    falls = contributions(bundled, x, torch.from_numpy(compromised()), hidden)[0]
    assert list(GROUPS)[falls.argmax()] == "terminal_history"
    assert falls.max() > 0.5


def test_groups_hold_every_card_feature_once() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(CARD_FEATURES)


def test_memory_before_an_event_is_that_of_feeding_the_events_before_it() -> None:
    torch.manual_seed(3)
    network = FraudNetwork(FraudNetworkConfig()).eval()
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 5, 40)
    plan = plan_sequences(rows)
    x = torch.from_numpy(rng.normal(size=(40, len(CARD_FEATURES))).astype(np.float32))
    risk = torch.zeros(40, len(PROFILE_FEATURES))
    before = torch.randn(len(plan.rows), network.config.hidden)
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

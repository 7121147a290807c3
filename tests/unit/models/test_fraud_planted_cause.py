"""A world in which one thing alone makes a fraud: the reasons name it first."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.fraud.dataset import DAY_MS, UNLABELLED, Dataset, build
from models.fraud.explanation import GROUPS, contributions
from models.fraud.fitting import FitConfig, fit
from models.fraud.network import FraudNetwork, FraudNetworkConfig, memory_before
from models.fraud.sequences import plan_sequences
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions

WORLD = SimulatorConfig(
    customers=120,
    terminals=240,
    radius=10.0,
    seed=3,
    compromised_terminals=0,
    compromised_cards=0,
)
HOUR_MS = 3_600_000


def honest() -> Transactions:
    history = simulate(WORLD, 60)
    return replace(history, is_fraud=np.zeros(len(history), np.bool_))


def soon_after_another() -> Transactions:
    """Fraud is what follows the card's last transaction within the half hour."""
    history = honest()
    last: dict[int, int] = {}
    truth = []
    for card, time in zip(history.card_id.tolist(), history.event_time.tolist(), strict=True):
        truth.append(time - last.get(card, -DAY_MS) < HOUR_MS // 2)
        last[card] = time
    return replace(history, is_fraud=np.array(truth))


def at_night() -> Transactions:
    """Fraud is what happens before three in the morning, Greenwich time."""
    history = honest()
    return replace(history, is_fraud=history.event_time % DAY_MS < 3 * HOUR_MS)


def small_spenders() -> Transactions:
    """Fraud is every fourth transaction, whatever its amount, of cards that usually pay little."""
    history = honest()
    codes, number = history.card_codes()
    usual = np.bincount(codes, history.amount, number) / np.maximum(np.bincount(codes), 1)
    fourth = np.random.default_rng(5).random(len(history)) < 0.25
    return replace(history, is_fraud=(usual[codes] < 15.0) & fourth)


def trained(data: Dataset, learned: np.ndarray) -> FraudNetwork:
    config = FitConfig(epochs=8, cards_at_once=20, steps_at_once=32)
    network, _ = fit(data, learned, FraudNetworkConfig(hidden=8, head=16), config)
    return network


@pytest.mark.parametrize(
    ("plant", "cause"),
    [(soon_after_another, "gap"), (at_night, "hour"), (small_spenders, "card_history")],
)
def test_a_planted_cause_is_named_first(plant: Callable[[], Transactions], cause: str) -> None:
    history = plant()
    # Nobody gives a verdict: terminals have no history, and only the planted cause is left.
    never = np.full(len(history), UNLABELLED)
    data = build(history, 1e12, never)
    later = history.event_time >= history.event_time[0] + 45 * DAY_MS
    network = trained(data, ~later)
    scores, named = judged(network, data)
    alerts = np.flatnonzero(later & (scores >= np.quantile(scores[later & history.is_fraud], 0.5)))
    assert history.is_fraud[alerts].mean() > 5 * history.is_fraud.mean()  # it has learned something
    first = np.array(list(GROUPS))[named[alerts]]
    assert (first == cause).mean() > 0.9


def judged(network: FraudNetwork, data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Score, and the group that is named first, of every transaction: (N,), (N,)."""
    plan = plan_sequences(data.cards)
    x, risk = torch.from_numpy(data.x[plan.packed]), torch.from_numpy(data.risk[plan.packed])
    before = torch.zeros(len(plan.rows), network.config.hidden)
    packed, memory, _ = network.trace(x, torch.from_numpy(plan.sizes), before, risk)
    before = memory_before(np.arange(len(data)), plan, before, memory)
    scores, named = np.empty(len(data), np.float32), np.empty(len(data), np.int64)
    scores[plan.packed] = packed.numpy()
    named[plan.packed] = contributions(network, x, risk, before).argmax(1)
    return scores, named

"""Our own inputs see no label before its time, and no future; labels reach them all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.fraud.dataset import DAY_MS, build, offline_scores, verdict_times
from models.fraud.evaluation import average_precision
from models.fraud.features import CARD_FEATURES
from models.fraud.fitting import FitConfig
from models.fraud.network import FraudNetworkConfig
from models.fraud.profile import PROFILE_FEATURES, RING
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.training import TrainingConfig, inputs, train_network
from models.fraud.transactions import Transactions
from tests.leakage import (
    assert_early_labels_help,
    assert_shuffled_labels_teach_nothing,
    assert_the_future_changes_nothing,
    assert_young_labels_change_nothing,
    shuffled,
)

WORLD = SimulatorConfig(
    customers=400, terminals=500, radius=15.0, seed=2, compromised_terminals=1, compromised_cards=1
)
DELAY_DAYS = 7.0
LARGE_AMOUNT = 220.0
RISK = PROFILE_FEATURES.index("risk_7d")


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 60)


@pytest.fixture(scope="module")
def judged(history: Transactions) -> np.ndarray:
    return history.event_time >= history.event_time[0] + 30 * DAY_MS


def ours(history: Transactions, label_delay_days: float = DELAY_DAYS) -> np.ndarray:
    """All that the network is given: of the card, then of the terminal."""
    known = verdict_times(history.event_time, label_delay_days)
    data = build(history, LARGE_AMOUNT, known)
    return np.concatenate([data.x, data.risk], 1)


def terminal_risk(history: Transactions, label_delay_days: float) -> np.ndarray:
    known = verdict_times(history.event_time, label_delay_days)
    return build(history, LARGE_AMOUNT, known).risk[:, RISK]


@pytest.mark.parametrize("day", [20.3, 41.7])
def test_labels_younger_than_a_week_change_no_input(history: Transactions, day: float) -> None:
    at = int(history.event_time[0] + day * DAY_MS)
    assert_young_labels_change_nothing(ours, history, at, int(DELAY_DAYS * DAY_MS))


@pytest.mark.parametrize("days", [20, 42])
def test_the_days_to_come_change_no_input(history: Transactions, days: int) -> None:
    midnight = (int(history.event_time[0]) // DAY_MS + days) * DAY_MS
    assert_the_future_changes_nothing(ours, history, midnight - 1)


def test_what_is_left_of_a_day_can_only_make_a_terminal_with_many_labels_forget(
    history: Transactions,
) -> None:
    at = int(history.event_time[0] + 41.7 * DAY_MS)
    past = np.flatnonzero(history.event_time <= at)
    whole, cut = ours(history)[past], ours(history.take(past))
    changed = np.flatnonzero((whole != cut).any(1))
    assert len(changed) < 0.001 * len(past)
    # Labels come a day at a time, and a profile tells the latest of them apart.
    today = at // DAY_MS * DAY_MS
    assert (history.event_time[past][changed] >= today).all()
    known = history.event_time + 7 * DAY_MS < today + DAY_MS
    terminals, number = history.terminal_codes()
    labels = np.bincount(terminals[known], minlength=number)
    assert (labels[terminals[past][changed]] > RING).all()
    # They count for less than they might: a reader loses what it cannot tell apart.
    counts = [len(CARD_FEATURES) + k for k, n in enumerate(PROFILE_FEATURES) if "labels" in n]
    assert (whole[changed][:, counts] <= cut[changed][:, counts]).all()


def test_inputs_whose_labels_came_a_day_early_are_caught(history: Transactions) -> None:
    at = int(history.event_time[0] + 41.7 * DAY_MS)
    with pytest.raises(AssertionError):
        assert_young_labels_change_nothing(
            lambda past: ours(past, DELAY_DAYS - 1), history, at, int(DELAY_DAYS * DAY_MS)
        )


def test_other_labels_change_what_is_known_of_terminals_and_nothing_of_cards(
    history: Transactions, judged: np.ndarray
) -> None:
    given, other = (build(one, LARGE_AMOUNT) for one in (history, shuffled(history, 0)))
    np.testing.assert_array_equal(given.x, other.x)
    changed = (given.risk != other.risk)[judged]
    assert changed.any(0).sum() > len(PROFILE_FEATURES) / 2
    assert changed.any(1).mean() > 0.5


def test_random_labels_say_nothing_of_terminals(history: Transactions, judged: np.ndarray) -> None:
    assert_shuffled_labels_teach_nothing(terminal_risk, history, judged, DELAY_DAYS)


def test_labels_known_at_once_separate_better(history: Transactions, judged: np.ndarray) -> None:
    assert_early_labels_help(terminal_risk, history, judged, DELAY_DAYS)


def test_a_network_taught_random_labels_guesses(history: Transactions) -> None:
    clock = history.event_time
    end = int(clock[0]) + 45 * DAY_MS
    held = clock >= end
    learned = (clock >= clock[0] + 14 * DAY_MS) & (clock + 7 * DAY_MS < end)
    truth = history.is_fraud[held]

    def precision(taught: Transactions) -> float:
        """Of a network that saw the labels of `taught` alone, against the true ones."""
        data = inputs(taught, learned)
        config = TrainingConfig(
            network=FraudNetworkConfig(hidden=8, head=16),
            fit=FitConfig(epochs=3, cards_at_once=100, learning_rate=1e-2),
        )
        # Amounts are no label's doing: their threshold, which labels set, stays out of both.
        network, _ = train_network(replace(data, large_amount=LARGE_AMOUNT), learned, config)
        return average_precision(truth, offline_scores(network, data)[held])

    honest, drawn = precision(history), precision(shuffled(history, 0))
    base = truth.mean()
    assert honest > 3 * base
    assert drawn < base + 0.2 * (honest - base)

"""Shifting labels, shuffling them and hiding the future change scores as theory says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.fraud.book import BOOK_FEATURES, book_features
from models.fraud.simulator import DAY_MS, SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from tests.leakage import (
    assert_early_labels_help,
    assert_shuffled_labels_teach_nothing,
    assert_the_future_changes_nothing,
    assert_young_labels_change_nothing,
)

WORLD = SimulatorConfig(
    customers=400, terminals=500, radius=15.0, seed=2, compromised_terminals=1, compromised_cards=1
)
DELAY_DAYS = 7.0
RISK = BOOK_FEATURES.index("terminal_risk_7d")


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 60)


@pytest.fixture(scope="module")
def judged(history: Transactions) -> np.ndarray:
    return history.event_time >= history.event_time[0] + 30 * DAY_MS


def terminal_risk(history: Transactions, label_delay_days: float) -> np.ndarray:
    return book_features(history, label_delay_days)[:, RISK]


def peeking(history: Transactions) -> np.ndarray:
    """Inputs that see labels six days old."""
    return book_features(history, 6.0)


@pytest.mark.parametrize("day", [20.3, 41.7])
def test_labels_younger_than_a_week_change_no_input_of_the_book(
    history: Transactions, day: float
) -> None:
    at = int(history.event_time[0] + day * DAY_MS)
    assert_young_labels_change_nothing(book_features, history, at, int(DELAY_DAYS * DAY_MS))


@pytest.mark.parametrize("day", [20.3, 41.7])
def test_the_future_changes_no_input_of_the_book(history: Transactions, day: float) -> None:
    assert_the_future_changes_nothing(
        book_features, history, int(history.event_time[0] + day * DAY_MS)
    )


def test_random_labels_teach_the_book_nothing(history: Transactions, judged: np.ndarray) -> None:
    assert_shuffled_labels_teach_nothing(terminal_risk, history, judged, DELAY_DAYS)


def test_labels_before_their_time_raise_the_books_score(
    history: Transactions, judged: np.ndarray
) -> None:
    assert_early_labels_help(terminal_risk, history, judged, DELAY_DAYS)


def test_inputs_that_peek_are_caught(history: Transactions, judged: np.ndarray) -> None:
    at = int(history.event_time[0] + 41.7 * DAY_MS)
    with pytest.raises(AssertionError):
        assert_young_labels_change_nothing(peeking, history, at, int(DELAY_DAYS * DAY_MS))
    with pytest.raises(AssertionError):
        assert_the_future_changes_nothing(
            lambda past: np.full((len(past), 1), past.amount.mean()), history, at
        )
    with pytest.raises(AssertionError):
        assert_shuffled_labels_teach_nothing(
            lambda past, _: replace(history, amount=past.amount).is_fraud.astype(float),
            history,
            judged,
            DELAY_DAYS,
        )
    with pytest.raises(AssertionError):
        assert_early_labels_help(
            lambda past, _: terminal_risk(past, DELAY_DAYS), history, judged, DELAY_DAYS
        )

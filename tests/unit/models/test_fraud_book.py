"""The book's inputs are held to loops that say what its text says."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from models.fraud.book import BOOK_FEATURES, WINDOWS_DAYS, book_features
from models.fraud.simulator import DAY_MS, SimulatorConfig, simulate
from models.fraud.transactions import Transactions

WORLD = SimulatorConfig(
    customers=25, terminals=20, radius=40.0, seed=3, compromised_terminals=1, compromised_cards=1
)


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 45)


def payment(rows: list[tuple[float, int, int, float, bool]]) -> Transactions:
    """(day, card, terminal, amount, is fraud); day 0 is Thursday 1 January 1970."""
    day, card, terminal, amount, fraud = (np.array(column) for column in zip(*rows, strict=True))
    return Transactions(
        tx_id=np.arange(len(rows)),
        card_id=card,
        terminal_id=terminal,
        amount=amount.astype(np.float64),
        event_time=(day * DAY_MS).astype(np.int64),
        is_fraud=fraud.astype(np.bool_),
        scenario=np.zeros(len(rows), np.int8),
    )


def by_the_text(history: Transactions, row: int, delay_days: float) -> list[float]:
    """The 15 inputs of one transaction, by looking at all before it."""
    now, delay = history.event_time[row], delay_days * DAY_MS
    when = datetime.fromtimestamp(now / 1000, UTC)
    seen = np.arange(len(history)) <= row  # of the same moment, those that came first
    inputs = [history.amount[row], float(when.weekday() >= 5), float(when.hour <= 6)]
    card = seen & (history.card_id == history.card_id[row])
    for days in WINDOWS_DAYS:
        window = card & (history.event_time > now - days * DAY_MS)
        inputs += [window.sum(), history.amount[window].mean()]
    terminal = (history.terminal_id == history.terminal_id[row]) & (
        history.event_time <= now - delay
    )
    for days in WINDOWS_DAYS:
        window = terminal & (history.event_time > now - delay - days * DAY_MS)
        inputs += [window.sum(), history.is_fraud[window].mean() if window.any() else 0.0]
    return inputs


def test_no_transactions_have_no_inputs(history: Transactions) -> None:
    assert book_features(history.take(slice(0, 0))).shape == (0, len(BOOK_FEATURES))


@pytest.mark.parametrize("delay_days", [7.0, 2.5])
def test_every_input_is_what_the_text_says(history: Transactions, delay_days: float) -> None:
    found = book_features(history, delay_days)
    assert found.dtype == np.float32
    chosen = np.arange(0, len(history), 7)
    expected = np.array([by_the_text(history, row, delay_days) for row in chosen])
    np.testing.assert_allclose(found[chosen], expected, rtol=1e-5, atol=1e-6)
    risks = [BOOK_FEATURES.index(f"terminal_risk_{days}d") for days in WINDOWS_DAYS]
    assert (found[:, risks] > 0).any(0).all()


def test_a_window_is_open_at_its_old_end_and_closed_at_its_new_one() -> None:
    rows = payment([(0, 1, 1, 10, True), (1, 1, 2, 20, False), (7, 2, 1, 1, False)])
    found = dict(zip(BOOK_FEATURES, book_features(rows).T, strict=True))
    assert found["card_count_1d"].tolist() == [1, 1, 1]  # a day ago to the second is gone
    assert found["card_mean_amount_7d"].tolist() == [10, 15, 1]
    assert found["terminal_risk_1d"].tolist() == [0, 0, 1]  # a label of seven days counts


def test_of_payments_at_one_moment_the_later_ones_are_not_seen() -> None:
    rows = payment([(3, 1, 1, 10, False), (3, 1, 1, 20, False)])
    found = book_features(rows)
    assert found[:, BOOK_FEATURES.index("card_count_1d")].tolist() == [1, 2]
    assert found[:, BOOK_FEATURES.index("card_mean_amount_1d")].tolist() == [10, 15]


def test_night_and_weekend_are_those_of_the_book() -> None:
    rows = payment([(0.28, 1, 1, 1, False), (2.0, 1, 1, 1, False), (3.3, 1, 1, 1, False)])
    assert book_features(rows)[:, 1:3].tolist() == [[0, 1], [1, 1], [1, 0]]


def test_ids_may_be_text(history: Transactions) -> None:
    some = history.take(slice(0, 400))
    text = Transactions(
        some.tx_id,
        np.array([f"card {one}" for one in some.card_id], object),
        np.array([f"terminal {one}" for one in some.terminal_id], object),
        some.amount,
        some.event_time,
        some.is_fraud,
        some.scenario,
    )
    np.testing.assert_array_equal(book_features(some), book_features(text))

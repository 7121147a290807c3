from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from models.fraud.evaluation import (
    average_precision,
    card_precision,
    fold_metrics,
    kept_rows,
    roc_auc,
)
from models.fraud.transactions import Transactions

START = "2018-07-25"
NONE = np.zeros(0)


def payments(*rows: tuple[int, int, bool]) -> Transactions:
    """(day after START, card, is fraud)."""
    first = int(datetime.fromisoformat(START).replace(tzinfo=UTC).timestamp() * 1000)
    n = len(rows)
    return Transactions(
        tx_id=np.arange(n),
        card_id=np.array([row[1] for row in rows], np.int64),
        terminal_id=np.zeros(n, np.int64),
        amount=np.ones(n),
        event_time=np.array([first + row[0] * 86_400_000 + 5 for row in rows], np.int64),
        is_fraud=np.array([row[2] for row in rows], np.bool_),
        scenario=np.zeros(n, np.int8),
    )


def test_measures_of_nothing_are_not_a_number() -> None:
    assert np.isnan(roc_auc(NONE.astype(bool), NONE))
    assert np.isnan(average_precision(NONE.astype(bool), NONE))
    assert kept_rows(payments(), START).shape == (0,)


def test_measures_without_a_fraud_are_not_a_number() -> None:
    assert np.isnan(roc_auc(np.zeros(3, bool), np.arange(3.0)))
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0)))


@pytest.mark.parametrize("levels", [2, 5, 100, 1_000_000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_measures_are_those_of_scikit_learn_ties_included(levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random(3000) < 0.05
    scores = np.floor((rng.random(3000) + 0.3 * truth) * levels) / levels
    assert roc_auc(truth, scores) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert average_precision(truth, scores) == pytest.approx(
        average_precision_score(truth, scores), abs=1e-12
    )


def test_only_the_test_week_is_judged() -> None:
    rows = payments(*((day, day, False) for day in range(-3, 25)))
    assert np.flatnonzero(kept_rows(rows, START)).tolist() == [day + 3 for day in range(14, 21)]


def test_cards_that_are_known_by_then_are_left_out() -> None:
    rows = payments(
        (0, 1, True),  # known from the training week
        (8, 2, True),  # its label arrives on the third test day
        (13, 3, True),  # its label arrives after the last
        (14, 1, False),
        (14, 2, False),
        (15, 2, False),
        (16, 2, False),
        (20, 3, False),
        (20, 4, True),
    )
    kept = [3, 4, 5, 6, 7, 8]
    judged = {place for place in kept if kept_rows(rows, START)[place]}
    assert judged == {4, 5, 7, 8}


def test_a_card_that_was_caught_makes_room_for_the_next() -> None:
    cards = np.array([0, 1, 2, 0, 1, 2])
    day = np.array([0, 0, 0, 1, 1, 1])
    truth = np.array([True, False, False, True, True, False])
    scores = np.array([0.9, 0.5, 0.1, 0.9, 0.5, 0.1])
    assert card_precision(cards, day, truth, scores, k=1) == pytest.approx(2 / 7)


def test_cards_without_a_transaction_that_day_are_not_shown() -> None:
    one = np.array([True])
    at = np.array([0])
    assert card_precision(at, at, one, np.array([0.1]), k=100) == pytest.approx(1 / 700)


def test_a_fold_is_measured_on_what_is_kept() -> None:
    rows = payments((0, 1, True), (14, 1, True), (14, 2, True), (15, 3, False), (16, 4, False))
    figures = fold_metrics(rows, START, np.array([0.0, 0.0, 0.9, 0.8, 0.1]))
    assert figures == {"auc": 1.0, "ap": 1.0, "cp100": pytest.approx(1 / 700)}

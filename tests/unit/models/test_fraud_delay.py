from __future__ import annotations

import numpy as np

from models.fraud.delay import detection_delay
from models.fraud.transactions import Transactions

DAY_MS = 86_400_000


def at(*rows: tuple[float, int, bool]) -> Transactions:
    """(day, terminal, is fraud)."""
    n = len(rows)
    return Transactions(
        tx_id=np.arange(n),
        card_id=np.arange(n),
        terminal_id=np.array([row[1] for row in rows], np.int64),
        amount=np.ones(n),
        event_time=np.array([row[0] * DAY_MS for row in rows], np.int64),
        is_fraud=np.array([row[2] for row in rows], np.bool_),
        scenario=np.zeros(n, np.int8),
    )


HISTORY = at(
    (0, 7, True),  # labelled on day 7
    (1, 8, False),
    (2, 9, True),  # labelled on day 9
    (6, 7, True),
    (8, 7, True),
    (8.5, 7, False),
    (10, 7, True),
    (10, 9, True),
    (11, 8, False),
)


def test_nothing_has_no_delay() -> None:
    found = detection_delay(HISTORY.take(slice(0, 0)), np.zeros(0), 0.5)
    assert len(found.days) == 0


def test_the_delay_runs_from_the_first_label_to_the_first_alert() -> None:
    scores = np.array([0.9, 0.9, 0, 0.9, 0.1, 0.2, 0.5, 0, 0.9])
    found = detection_delay(HISTORY, scores, 0.5)
    assert found.terminal.tolist() == [0, 2]  # terminal 8 never had a fraud
    assert (found.labelled / DAY_MS).tolist() == [7, 9]
    assert found.days.tolist() == [3, np.inf]
    assert found.transactions.tolist() == [2, 1]


def test_alerts_before_the_label_are_no_answer_to_it() -> None:
    found = detection_delay(HISTORY, np.where(np.arange(9) == 3, 1.0, 0.0), 0.5)
    assert found.days.tolist() == [np.inf, np.inf]


def test_a_span_of_time_can_be_looked_at_alone() -> None:
    scores = np.ones(9)
    late = detection_delay(HISTORY, scores, 0.5, begin_ms=8 * DAY_MS)
    assert late.days.tolist() == [1]
    early = detection_delay(HISTORY, scores, 0.5, end_ms=9 * DAY_MS)
    assert early.days.tolist() == [1]  # terminal 9 has had no transaction since its label


def test_the_label_may_take_another_time() -> None:
    found = detection_delay(HISTORY, np.ones(9), 0.5, label_delay_days=1.0)
    assert found.days.tolist() == [5, 7]

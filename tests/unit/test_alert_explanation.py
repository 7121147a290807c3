"""Reasons in words: what they say of gaps, hours, cards and amounts is what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from models.fraud.features import card_features, large_before, new_card_state, terminal_hash
from models.fraud.network import FraudNetwork, load_fraud
from models.fraud.profile import PROFILE_SUMMARY, new_profiles, profile_features, summarise
from models.fraud.sequences import plan_sequences
from streams.alerts import explanation
from streams.alerts.explanation import LEAST, Explanation, explain
from streams.schemas import Reason, Transaction

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
SUNDAY = 1_522_540_800_000
"""1 April 2018, 00:00 UTC."""


@pytest.fixture(scope="module")
def network() -> FraudNetwork:
    return load_fraud()[0]


@pytest.fixture(autouse=True)
def every_group_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are the matter here, not which of them are said."""
    monkeypatch.setattr(
        explanation,
        "contributions",
        lambda network, x, risk, hidden: np.tile(
            np.array([0.1, 0.5, 0.3, 0.2, 0.4], np.float32), (len(x), 1)
        ),
    )


def explained(network: FraudNetwork, *events: tuple[int, float]) -> Explanation:
    """Of the last of one card's payments, (time, amount) each, at a terminal without labels."""
    time, amount = (np.array(column) for column in zip(*events, strict=True))
    plan = plan_sequences(np.zeros(len(events), np.int64))
    state = new_card_state(1)
    x, _ = card_features(
        plan,
        amount=amount.astype(np.float64),
        event_time=time,
        terminal=np.full(len(events), terminal_hash("t1"), np.uint32),
        state=state,
    )
    summary = summarise(new_profiles(1), 220.0)
    assert summary.dtype == PROFILE_SUMMARY
    at, paid = events[-1]
    (found,) = explain(
        network,
        [Transaction("tx", "c1", "t1", paid, "EUR", at)],
        x=torch.from_numpy(x[-1:]),
        risk=torch.from_numpy(profile_features(summary, np.array([at]))),
        hidden=torch.zeros(1, network.config.hidden),
        terminals=summary,
        large=[large_before(plan, state, x, time, len(events) - 1)],
    )
    return found


def reason(found: Explanation, code: str) -> Reason:
    (one,) = (one for one in found.reasons if one.code == code)
    return one


@pytest.mark.parametrize(
    ("gap_ms", "words"),
    [
        (0, "0 seconds"),
        (SECOND, "1 second"),
        (45 * SECOND, "45 seconds"),
        (119 * SECOND, "119 seconds"),
        (2 * MINUTE, "2 minutes"),
        (90 * MINUTE, "90 minutes"),
        (119 * MINUTE, "119 minutes"),
        (3 * HOUR, "3 hours"),
        (47 * HOUR, "47 hours"),
        (5 * DAY, "5 days"),
        (200 * DAY, "200 days"),
    ],
)
def test_a_gap_is_the_time_since_the_cards_previous_payment(
    network: FraudNetwork, gap_ms: int, words: str
) -> None:
    found = reason(explained(network, (SUNDAY, 20.0), (SUNDAY + gap_ms, 30.0)), "gap")
    assert found.text == f"{words} after the card's previous transaction"
    assert found.evidence == {
        # Read back from a feature of four bytes: good to a millionth or so.
        "seconds_since_previous": pytest.approx(gap_ms / 1000, rel=1e-5, abs=0.1)
    }


def test_a_card_that_goes_backwards_in_time_has_no_gap(network: FraudNetwork) -> None:
    found = reason(explained(network, (SUNDAY + HOUR, 20.0), (SUNDAY, 30.0)), "gap")
    assert found.text == "0 seconds after the card's previous transaction"


def test_a_first_payment_has_nothing_before_it(network: FraudNetwork) -> None:
    found = explained(network, (SUNDAY, 20.0))
    gap = reason(found, "gap")
    assert (gap.text, gap.evidence) == ("the card's first transaction", {"transactions": 0})
    assert reason(found, "amount").text == "20.00 EUR on a card without history"
    card = reason(found, "card_history")
    assert card.text == "the pattern of the card's last transactions (0 known)"


@pytest.mark.parametrize(
    ("at_ms", "weekday", "clock", "hour"),
    [
        (SUNDAY, "Sunday", "00:00", 0),
        (SUNDAY + DAY - 1, "Sunday", "23:59", 23),
        (SUNDAY + DAY, "Monday", "00:00", 0),
        (SUNDAY + 3 * DAY + 7 * HOUR + 5 * MINUTE, "Wednesday", "07:05", 7),
        (SUNDAY + 6 * DAY + 13 * HOUR + 59_999, "Saturday", "13:00", 13),
        (0, "Thursday", "00:00", 0),
    ],
)
def test_an_hour_is_that_of_the_event_in_utc(
    network: FraudNetwork, at_ms: int, weekday: str, clock: str, hour: int
) -> None:
    found = reason(explained(network, (at_ms, 20.0)), "hour")
    assert found.text == f"on a {weekday} at {clock} UTC"
    assert found.evidence == {"weekday": weekday, "hour_utc": hour}


@pytest.mark.parametrize("known", [1, 2, 7, 150])
def test_a_cards_payments_are_counted(network: FraudNetwork, known: int) -> None:
    events = [(SUNDAY + day * DAY, 20.0) for day in range(known + 1)]
    found = reason(explained(network, *events), "card_history")
    assert found.text == f"the pattern of the card's last transactions ({known} known)"
    assert found.evidence == {"transactions": known, "large_in_10_days": 0}


@pytest.mark.parametrize(
    ("days", "words", "evidence"),
    [
        ([20], "the pattern of the card's last transactions (101 known)", {"large_in_10_days": 0}),
        (
            [10],
            (
                "1 payment of at least 2 times the card's usual amount in the 10 days before, "
                "4.9 times (101 transactions known)"
            ),
            {"large_in_10_days": 1, "largest_times_usual": 4.9},
        ),
        (
            [20, 3, 2, 0],
            (
                "3 payments of at least 2 times the card's usual amount in the 10 days before, the "
                "largest 4.8 times (104 transactions known)"
            ),
            {"large_in_10_days": 3, "largest_times_usual": 4.8},
        ),
    ],
)
def test_a_cards_large_payments_of_the_last_days_are_told(
    network: FraudNetwork, days: list[int], words: str, evidence: dict[str, Any]
) -> None:
    usual = [(SUNDAY + day * DAY, 20.0) for day in range(-150, -50)]
    large = [(SUNDAY - day * DAY, 100.0) for day in days]
    found = reason(explained(network, *usual, *large, (SUNDAY, 20.0)), "card_history")
    assert found.text == words
    assert found.evidence == {"transactions": 100 + len(days), **evidence}


def test_an_amount_is_set_against_the_cards_own(network: FraudNetwork) -> None:
    events = [(SUNDAY + day * DAY, 20.0) for day in range(400)]
    found = reason(explained(network, *events[:-1], (events[-1][0], 100.0)), "amount")
    # A prior of one transaction of 50 beside the last 200.
    usual = (200 * 20.0 + 50.0) / 201
    assert found.text == f"{100 / usual:.1f} times the card's usual amount"
    assert found.evidence["usual_amount"] == pytest.approx(usual, abs=0.02)
    assert found.evidence["times_usual"] == pytest.approx(100 / usual, abs=0.02)


def test_the_strongest_reason_comes_first_and_a_weak_one_not_at_all(
    network: FraudNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = explained(network, (SUNDAY, 20.0))
    codes = [one.code for one in found.reasons]
    assert codes == ["gap", "terminal_history", "hour", "card_history", "amount"]
    weak = np.array([[LEAST / 2, 0.2, 0.0, -0.3, LEAST]], np.float64)
    monkeypatch.setattr(explanation, "contributions", lambda *_: weak)
    codes = [one.code for one in explained(network, (SUNDAY, 20.0)).reasons]
    assert codes == ["gap", "terminal_history"]

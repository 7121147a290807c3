import numpy as np
import pytest

from models.fraud.evidence import card_evidence, with_evidence
from models.fraud.features import LARGE_KEPT, LARGE_RATIO, new_card_state
from models.fraud.profile import FRAUD, GENUINE, LABEL, WITHDRAWN

DAY = 86_400_000
NOW = 20_000 * DAY


def card(*large):  # type: ignore[no-untyped-def]
    """The state of a card with these large transactions: (days from NOW, ratio)."""
    cards = new_card_state(1)
    for number, (day, ratio) in enumerate(large):
        cards["large_time"][0, number % LARGE_KEPT] = NOW + round(day * DAY)
        cards["large_ratio"][0, number % LARGE_KEPT] = ratio
    cards["large_count"] = len(large)
    return cards


def evidence(*large, delay=7.0):  # type: ignore[no-untyped-def]
    """Ratio and burst of a transaction at NOW, judged `delay` days later."""
    event_time = np.array([NOW], np.int64)
    ratio, burst = card_evidence(card(*large), event_time, event_time + round(delay * DAY))
    assert ratio.dtype == burst.dtype == np.float32
    return float(ratio[0]), float(burst[0])


def test_no_labels_have_no_evidence() -> None:
    none = np.zeros(0, np.int64)
    ratio, burst = card_evidence(new_card_state(0), none, none)
    assert ratio.shape == burst.shape == (0,)
    assert with_evidence(np.zeros(0, LABEL), new_card_state(0)).shape == (0,)


def test_an_unknown_card_and_one_without_large_transactions_explain_nothing() -> None:
    assert evidence() == (LARGE_RATIO, 0.0)


def test_a_place_that_was_never_written_is_no_transaction() -> None:
    cards, at = new_card_state(1), np.zeros(1, np.int64)  # unused places hold time 0 and ratio 0
    ratio, burst = card_evidence(cards, at, at + 7 * DAY)
    assert (ratio[0], burst[0]) == (LARGE_RATIO, 0.0)


def test_its_own_amount_is_its_ratio_and_no_burst() -> None:
    assert evidence((0, 7.0)) == (7.0, 0.0)
    assert evidence((0, 3.0), (0, 4.0)) == (4.0, 0.0)


def test_others_near_it_make_a_burst_by_what_they_exceed() -> None:
    assert evidence((-1, LARGE_RATIO + 1), (0, 4.0), (2, LARGE_RATIO + 2)) == (4.0, 3.0)


def test_one_huge_amount_is_not_several_large_ones() -> None:
    assert evidence((-1, 50.0)) == (LARGE_RATIO, 3.0)


@pytest.mark.parametrize(
    ("day", "counts"), [(-10.001, False), (-10, True), (-0.001, True), (6, True), (6.001, False)]
)
def test_ten_days_before_and_six_days_after_it_are_near(day: float, counts: bool) -> None:
    assert evidence((day, LARGE_RATIO + 1), delay=30) == (LARGE_RATIO, 1.0 if counts else 0.0)


@pytest.mark.parametrize(("day", "counts"), [(2, True), (2.001, False), (3.5, False)])
def test_what_came_less_than_a_day_before_the_verdict_does_not_count(
    day: float, counts: bool
) -> None:
    assert evidence((day, LARGE_RATIO + 1), delay=3) == (LARGE_RATIO, 1.0 if counts else 0.0)


def test_a_verdict_of_the_same_hour_sees_nothing_of_the_day_before_it() -> None:
    assert evidence((-0.5, 9.0), (-2, LARGE_RATIO + 1), delay=0.04) == (LARGE_RATIO, 1.0)


def test_only_frauds_need_an_explanation() -> None:
    labels = np.zeros(3, LABEL)
    labels["event_time"], labels["labelled_at"] = NOW, NOW + 7 * DAY
    labels["verdict"] = FRAUD, GENUINE, WITHDRAWN
    labels["amount"] = 80.0
    before = labels.copy()
    cards = np.concatenate([card((0, 5.0), (1, LARGE_RATIO + 1))] * 3)
    found = with_evidence(labels, cards)
    assert found["ratio"].tolist() == [5.0, LARGE_RATIO, LARGE_RATIO]
    assert found["burst"].tolist() == [1.0, 0.0, 0.0]
    assert found["amount"].tolist() == [80.0] * 3
    assert labels.tobytes() == before.tobytes()

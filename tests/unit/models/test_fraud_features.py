import numpy as np
import pytest

from models.fraud.features import (
    CARD_FEATURES,
    CARD_STATE,
    LARGE_KEPT,
    card_features,
    new_card_state,
    terminal_hash,
)
from models.fraud.sequences import plan_sequences

MONDAY = 1_704_067_200_000  # 2024-01-01 00:00 UTC
HOUR = 3_600_000


def features(amounts, times, terminals=None, cards=None, state=None):  # type: ignore[no-untyped-def]
    n = len(amounts)
    plan = plan_sequences(np.array(cards if cards is not None else [0] * n, np.int64))
    x, after = card_features(
        plan,
        amount=np.array(amounts, np.float64),
        event_time=np.array(times, np.int64),
        terminal=np.array(terminals if terminals is not None else [1] * n, np.uint32),
        state=new_card_state(len(plan.rows)) if state is None else state,
    )
    out = np.empty_like(x)
    out[plan.packed] = x
    return [dict(zip(CARD_FEATURES, row.tolist(), strict=True)) for row in out], after


def test_an_empty_batch_has_no_features_and_changes_no_state() -> None:
    rows, after = features([], [])
    assert rows == []
    assert after.shape == (0,)
    assert after.dtype == CARD_STATE


def test_a_card_state_is_232_bytes_aligned_so_that_it_is_read_without_copies() -> None:
    assert CARD_STATE.itemsize == 232
    assert all(
        CARD_STATE.fields[name][1] % CARD_STATE[name].base.itemsize == 0
        for name in CARD_STATE.names
    )


def test_a_card_seen_first_looks_ordinary() -> None:
    (row,), after = features([50.0], [MONDAY])
    assert row["amount_z"] == pytest.approx(0, abs=1e-6)
    assert row["log_count"] == 0
    assert row["gap_below_hour"] == row["same_terminal"] == 0
    assert after["count"].tolist() == [1]


def test_an_unusual_amount_stands_out_against_the_card_not_against_others() -> None:
    times = [MONDAY + i * HOUR for i in range(21)]
    frugal, _ = features([5.0] * 20 + [100.0], times)
    lavish, _ = features([100.0] * 21, times)
    assert frugal[-1]["amount_z"] > 1.5
    assert abs(lavish[-1]["amount_z"]) < 0.5


def test_the_second_of_two_transactions_within_a_minute_at_one_terminal_says_so() -> None:
    (_, row), after = features([5, 5], [MONDAY, MONDAY + 30_000], [7, 7])
    assert row["gap_below_minute"] == row["gap_below_hour"] == row["same_terminal"] == 1
    assert after["last_terminal"].tolist() == [7]
    assert after["last_time"].tolist() == [MONDAY + 30_000]


def test_time_that_goes_backwards_is_no_gap() -> None:
    (_, row), after = features([5, 5], [MONDAY, MONDAY - HOUR])
    assert row["log_gap"] == pytest.approx(-2.5)
    assert after["last_time"].tolist() == [MONDAY - HOUR]


@pytest.mark.parametrize(
    ("time", "night", "weekend"),
    [
        (MONDAY + 3 * HOUR, 1, 0),
        (MONDAY + 7 * HOUR, 0, 0),
        (MONDAY + 5 * 24 * HOUR + 12 * HOUR, 0, 1),
        (MONDAY - 1, 0, 1),
    ],
)
def test_night_and_weekend_are_those_of_the_clock(time: int, night: int, weekend: int) -> None:
    (row,), _ = features([5], [time])
    assert (row["night"], row["weekend"]) == (night, weekend)


def test_noon_and_midnight_lie_opposite() -> None:
    (midnight, noon), _ = features([5, 5], [MONDAY, MONDAY + 12 * HOUR])
    assert midnight["hour_cos"] == pytest.approx(1)
    assert noon["hour_cos"] == pytest.approx(-1)


def large(after):  # type: ignore[no-untyped-def]
    """(time, ratio) of the large transactions that the one card remembers, oldest first."""
    (state,) = after
    count = int(state["large_count"])
    places = [number % LARGE_KEPT for number in range(max(count - LARGE_KEPT, 0), count)]
    return [(int(state["large_time"][at]), float(state["large_ratio"][at])) for at in places]


def test_only_a_transaction_far_above_the_usual_amount_is_remembered_one_by_one() -> None:
    for times, remembered in ((1.99, 0), (2.5, 1)):
        _, after = features([50.0 * times], [MONDAY])
        assert len(large(after)) == remembered
    ((time, ratio),) = large(after)
    assert (time, ratio) == (MONDAY, 2.5)


def test_a_card_remembers_its_newest_large_transactions_in_order_of_arrival() -> None:
    amounts = [5.0 * 2.0**i for i in range(25)] + [1.0]
    times = [MONDAY + i * HOUR for i in range(26)]
    _, after = features(amounts, times)
    found = large(after)
    assert len(found) == LARGE_KEPT
    assert [time for time, _ in found] == times[9:25]
    assert int(after["large_count"][0]) > LARGE_KEPT


def test_a_huge_amount_is_kept_as_a_ratio_that_a_float_holds() -> None:
    _, after = features([1e9], [MONDAY])
    ((_, ratio),) = large(after)
    assert ratio == 100.0


def test_the_state_given_is_left_as_it_is() -> None:
    before = new_card_state(1)
    features([5, 6], [MONDAY, MONDAY], state=before)
    assert before == new_card_state(1)


def test_the_hash_of_a_terminal_never_changes() -> None:
    assert terminal_hash("terminal-1") == 0xB4925DFE

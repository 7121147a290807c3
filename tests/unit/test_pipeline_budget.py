"""The threshold of an hour out of the hours before it."""

from __future__ import annotations

import numpy as np
import pytest

from streams.pipeline.budget import Budget, Verdict, decide, history_of
from streams.state.sketch import BINS, DAY, RING, ScoreSketch, score_at

FIRST = 50_000
QUIET = Budget(alerts=24.0, burst=1.5, floor=0.0)


def hours(
    begin: int, end: int, *, low: int = 100, high: int = 2, alerts: int = 1, at: int = 100
) -> ScoreSketch:
    """In each hour `low` scores in bin 30 and `high` in bin `at`; the hour `end` is still open."""
    sketch = ScoreSketch()
    counts = np.zeros(BINS, np.int64)
    counts[30], counts[at] = low, high
    for window in range(begin, end):
        sketch.add(window, counts, alerts)
    sketch.add(end, counts)
    return sketch


def decided(sketches: list[ScoreSketch], window: int, budget: Budget = QUIET) -> Verdict | None:
    rows = [sketch.rows for sketch in sketches]
    history = history_of(rows)
    assert history is not None
    return decide(rows, window, budget, history)


def found(sketches: list[ScoreSketch], window: int, budget: Budget = QUIET) -> Verdict:
    verdict = decided(sketches, window, budget)
    assert verdict is not None
    return verdict


def test_without_an_event_there_is_no_history() -> None:
    assert history_of([]) is None
    assert history_of([ScoreSketch().rows]) is None


def test_before_a_whole_day_is_known_there_is_no_threshold() -> None:
    assert decided([hours(FIRST, FIRST + DAY - 1)], FIRST + DAY - 1) is None
    assert decided([hours(FIRST, FIRST + DAY)], FIRST + DAY) is not None


def test_half_of_what_lies_in_a_bin_is_above_its_middle() -> None:
    verdict = found([hours(FIRST, FIRST + 2 * DAY)], FIRST + 2 * DAY)  # 48 a day, 24 wanted
    assert verdict.balance == pytest.approx(0.0, abs=1e-9)
    assert verdict.threshold == pytest.approx(score_at(100.5))
    assert verdict.expected == pytest.approx(24.0)


def test_partitions_share_one_budget() -> None:
    end = FIRST + 2 * DAY
    alone = found([hours(FIRST, end)], end)
    pair = [hours(FIRST, end, low=50, high=1, alerts=1), hours(FIRST, end, low=50, alerts=0)]
    assert found(pair, end).threshold > alone.threshold


def test_the_hours_from_the_window_on_are_not_looked_at() -> None:
    end = FIRST + 3 * DAY
    past, future = hours(FIRST, end), hours(FIRST, end)
    future.add(end, np.full(BINS, 1000), alerts=1000)
    future.add(end + 1, np.full(BINS, 1000), alerts=1000)
    assert found([future], end) == found([past], end)


def test_a_clock_that_runs_ahead_in_one_shop_closes_no_hour() -> None:
    end = FIRST + 3 * DAY
    honest, odd = hours(FIRST, end), hours(FIRST, end)
    one = np.zeros(BINS, np.int64)
    one[30] = 1
    odd.add(end + 20, one)
    history = history_of([odd.rows])
    assert history is not None
    assert history.newest == end
    assert found([odd], end).threshold == pytest.approx(found([honest], end).threshold)


def test_a_partition_that_lags_speaks_with_the_rate_that_it_had() -> None:
    end = FIRST + 4 * DAY
    both = [hours(FIRST, end, alerts=0), hours(FIRST, end, alerts=1)]
    lagging = [hours(FIRST, end, alerts=0), hours(FIRST, end - 20, alerts=1)]
    assert found(lagging, end).threshold == pytest.approx(found(both, end).threshold, rel=0.02)


def test_a_partition_that_fell_silent_leaves_room_for_the_others() -> None:
    end = FIRST + 5 * DAY
    both = [hours(FIRST, end), hours(FIRST, end, alerts=0)]
    silent = [hours(FIRST, end), hours(FIRST, end - 3 * DAY, alerts=0)]
    assert found(silent, end).threshold < found(both, end).threshold


def test_what_is_left_over_lowers_the_threshold_and_debt_raises_it_within_the_burst() -> None:
    end = FIRST + 4 * DAY
    none, even, many = (found([hours(FIRST, end, alerts=n)], end) for n in (0, 1, 20))
    assert none.threshold < even.threshold < many.threshold
    assert (none.balance, many.balance) == (12.0, -12.0)
    assert none.expected == pytest.approx(24.0 * 1.5)
    assert many.expected == pytest.approx(24.0 / 1.5)


def test_a_burst_of_one_carries_nothing_over() -> None:
    end = FIRST + 4 * DAY
    strict = Budget(24.0, 1.0, 0.0)
    thresholds = {found([hours(FIRST, end, alerts=n)], end, strict).threshold for n in (0, 1, 20)}
    assert len(thresholds) == 1


def test_a_budget_larger_than_the_stream_ends_at_the_floor() -> None:
    end = FIRST + 2 * DAY
    lavish = Budget(1e6, 1.5, 0.3)
    verdict = found([hours(FIRST, end)], end, lavish)
    assert verdict.threshold == 0.3
    assert verdict.expected == pytest.approx(102 * DAY)


def test_the_first_days_alerts_under_another_threshold_are_not_held_against_it() -> None:
    sketch = hours(FIRST, FIRST + DAY, alerts=500)
    assert found([sketch], FIRST + DAY).balance == 0.0


def test_a_day_of_old_counts_half_of_a_day_of_new() -> None:
    sketch = ScoreSketch()
    for window in range(FIRST, FIRST + 2 * DAY + 1):
        counts = np.zeros(BINS, np.int64)
        counts[30], counts[100] = 100, 8 if window < FIRST + DAY else 2
        sketch.add(window, counts, 1)
    # (2 x 1 + 8 x 0.5) / 1.5 = 4 an hour, 96 a day, of which 24 are wanted
    assert found([sketch], FIRST + 2 * DAY).threshold == pytest.approx(score_at(100.75))


def test_what_is_older_than_the_ring_is_forgotten() -> None:
    end = FIRST + 3 * RING
    long, short = hours(FIRST, end), hours(end - RING, end)
    assert found([long], end) == found([short], end)

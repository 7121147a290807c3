"""An alert budget: the score from which about so many alerts a day go out.

The threshold of an hour is worked out from the hours before it, of all partitions:

1. Where does each partition stand? At its newest hour; one that is behind speaks for as long as it
   knows, one that has been silent for a day speaks for its silence.
2. How many transactions a day score above each edge? Whole days back to a week, each older day
   counting half as much: every hour of the day counts alike, and the stream is followed.
3. How much of the budget is left over or overdrawn? Every hour adds its share of the budget and
   takes its alerts off; half of the balance is forgotten in two days.
4. The threshold is where (2) meets the budget plus the balance, within bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streams.state.sketch import BINS, DAY, NEVER, RING, score_at

DAYS = 7
"""Whole days that are looked back on."""

OLDER_DAY = 0.5
"""Weight of a day beside the one after it: a distribution that moves is followed within days, and
one odd day does not move it alone."""

FORGET = 0.5 ** (1 / (2 * DAY))
"""What an hour leaves of the balance. Forgotten before its hours leave the ring, or a debt that was
paid back would come again as credit when the hours that made it are gone."""

STRAYS = 0.005
"""Share of events beyond which lies no end of the stream: a clock that runs ahead in one shop must
not close hours that have not been."""


@dataclass(frozen=True, slots=True)
class Budget:
    """`alerts` a day of event time; `burst` bounds how far a day may be led away from it.

    After a quiet time up to `burst` times as many a day are let through, after a wave no fewer than
    one `burst`-th. No score below `floor` is ever an alert, however much is left.
    """

    alerts: float
    burst: float
    floor: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A threshold, and what led to it."""

    threshold: float
    expected: float
    """Alerts a day that the past has above it."""

    balance: float
    """Alerts left over (or, negative, overdrawn)."""


@dataclass(frozen=True, slots=True)
class History:
    """The ranges of the past: first window, and by partition the window that is still open."""

    first: int
    open: list[int]

    @property
    def newest(self) -> int:
        """The newest window that any partition has reached."""
        return max(self.open)


def history_of(sketches: Sequence[NDArray[Any]]) -> History | None:
    """Find where the stream begins and where each partition stands; None without an event.

    Args:
        sketches: ROW[RING] of each partition.
    """
    if not sketches:
        return None
    totals = [rows["counts"].sum(1, dtype=np.int64) for rows in sketches]
    windows = np.concatenate([rows["window"] for rows in sketches])
    counted = np.concatenate(totals)
    if not counted.any():
        return None
    ends = [
        _quantile(rows["window"], total, 1.0 - STRAYS) if total.any() else NEVER
        for rows, total in zip(sketches, totals, strict=True)
    ]
    return History(_quantile(windows, counted, STRAYS), ends)


def decide(
    sketches: Sequence[NDArray[Any]], window: int, budget: Budget, history: History
) -> Verdict | None:
    """Return the threshold of `window`; None while there is no whole day to learn from.

    Args:
        sketches: ROW[RING] of each partition; hours from `window` on are not looked at.
        window: hour of event time.
        budget: what is promised.
        history: of the same sketches.
    """
    if window - history.first < DAY:
        return None
    # 1. Where each partition stands.
    live = [end >= window - DAY for end in history.open]
    ends = [min(end, window) if on else window for end, on in zip(history.open, live, strict=True)]
    common = min((end for end, on in zip(ends, live, strict=True) if on), default=window)

    # 2. Scores a day, and how they fall on the hours of the day.
    a_day, seen = np.zeros(BINS), _seen(sketches)
    for rows, end in zip(sketches, ends, strict=True):
        a_day += _counts_a_day(rows, end, history.first, seen)

    # 3. The balance.
    balance = _balance(sketches, history.first, common, budget)

    # 4. The threshold.
    least, most = budget.alerts / budget.burst, budget.alerts * budget.burst
    wanted = min(max(budget.alerts + balance, least), most)
    return _cut(a_day, wanted, balance, budget.floor)


def _seen(sketches: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """The windows with an event in any partition, the newest of those that share a row."""
    newest = np.max([rows["window"] for rows in sketches], axis=0)
    counted = np.array([rows["counts"].any(1) for rows in sketches])
    current = np.array([rows["window"] == newest for rows in sketches])
    windows: NDArray[np.int64] = newest[(counted & current).any(0)]
    return windows


def _quantile(windows: NDArray[np.int64], counts: NDArray[np.int64], share: float) -> int:
    """The first window with at least `share` of the events in it or before it."""
    order = np.argsort(windows)
    reached = np.cumsum(counts[order])
    place = int(np.searchsorted(reached, share * reached[-1]))
    return int(windows[order[min(place, len(order) - 1)]])


def _counts_a_day(
    rows: NDArray[Any], end: int, first: int, seen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(BINS,) events a day before `end`: the mean of each hour of the day, summed.

    Only the hours of `seen` count, in which anything came on any partition: of an outage nothing
    can be learned. Newer days count more.
    """
    hours = min((end - first) // DAY, DAYS) * DAY or end - first
    seen = seen[(seen >= end - hours) & (seen < end)]
    if not len(seen):
        return np.zeros(BINS)
    weight = OLDER_DAY ** ((end - 1 - seen) // DAY)
    total = np.bincount(seen % DAY, weights=weight, minlength=DAY)
    slots = seen % RING
    own = rows["window"][slots] == seen
    share = np.where(own, weight / total[seen % DAY], 0.0)
    counts: NDArray[np.float64] = share @ rows["counts"][slots].astype(np.float64)
    return counts * (DAY / min(hours, DAY))


def _balance(sketches: Sequence[NDArray[Any]], first: int, end: int, budget: Budget) -> float:
    """What is left of the budget after the windows before `end`, from the second day on."""
    begin = max(first + DAY, end - DAYS * DAY)
    if begin >= end:
        return 0.0
    hours = end - begin
    alerts, rhythm = np.zeros(hours), np.zeros(DAY)
    for rows in sketches:
        used = (rows["window"] >= end - DAYS * DAY) & (rows["window"] < end)
        volume = rows["counts"][used].sum(1, dtype=np.float64)
        np.add.at(rhythm, rows["window"][used] % DAY, volume)
        used &= rows["window"] >= begin
        np.add.at(alerts, rows["window"][used] - begin, rows["alerts"][used].astype(np.float64))
    share = rhythm / rhythm.sum() if rhythm.any() else np.full(DAY, 1.0 / DAY)
    due = budget.alerts * share[np.arange(begin, end) % DAY]
    limit = budget.alerts * max(budget.burst - 1.0, 0.0)
    balance = 0.0
    for plus, minus in zip(due.tolist(), alerts.tolist(), strict=True):
        balance = min(max(FORGET * balance + plus - minus, -limit), limit)
    return balance


def _cut(a_day: NDArray[np.float64], wanted: float, balance: float, floor: float) -> Verdict:
    """The score above which `wanted` events a day lie, on a line within its bin."""
    above = np.cumsum(a_day[::-1])[::-1]  # (BINS,) events in this bin or a higher one
    place = int(np.searchsorted(-above, -wanted, side="right")) - 1  # last bin that reaches it
    if place < 0:
        return Verdict(floor, float(above[0]), balance)
    share = (above[place] - wanted) / max(a_day[place], 1e-12)
    threshold = score_at(place + min(share, 1.0))
    if threshold < floor:
        return Verdict(floor, wanted, balance)
    return Verdict(threshold, wanted, balance)

"""What the network sees of a transaction: the one feature code of training and of serving.

A card's memory outside the network: how many transactions, running mean and variance of its
amounts, when and where the last one was, and which of the last ones were unusually large (evidence
for `models.fraud.evidence`). `card_features` reads and advances it. Cutting the same stream into
other batches gives the same features and the same state to the last bit.
"""

import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.sequences import SequencePlan

LARGE_RATIO = 2.0
"""A transaction of at least this many times the card's usual amount is remembered one by one: about
one in forty of a card that nobody has taken over."""

LARGE_KEPT = 16
"""Large transactions remembered: a taken-over card makes up to 18 in two weeks, another one a few
in a month. What is pushed out no longer speaks for its card."""

CARD_STATE = np.dtype(
    [
        ("count", "<u4"),
        ("last_terminal", "<u4"),
        ("last_time", "<i8"),  # ms, event time of the previous transaction
        ("mean", "<f8"),  # running mean of the amount, see `_usual_amounts`
        ("variance", "<f8"),
        ("large_time", "<i8", LARGE_KEPT),  # ms, event time; a ring of the newest
        ("large_ratio", "<f4", LARGE_KEPT),  # times the card's usual amount at that time
        ("large_count", "<u8"),  # ever
    ]
)

CARD_FEATURES: tuple[str, ...] = (
    "log_amount",
    "amount_clipped",
    "amount_z",
    "amount_ratio",
    "times_usual",
    "usual_amount",
    "usual_deviation",
    "log_gap",
    "gap_below_minute",
    "gap_below_hour",
    "hour_sin",
    "hour_cos",
    "night",
    "weekday_sin",
    "weekday_cos",
    "weekend",
    "same_terminal",
    "log_count",
)

# A new card is taken for an ordinary one, worth one transaction.
_PRIOR_MEAN, _PRIOR_VARIANCE = 50.0, 625.0
_KNOWN = 3  # transactions after which a card's mean may judge the next one
_MOST_TIMES = 3.0  # what counts at most: a burst of a taken-over card must not become usual
_LEAST_WEIGHT = 0.005  # the mean follows the card's last 200 transactions or so
_FIRST_GAP_S = 30 * 86_400.0
_DAY_MS = 86_400_000


def _clock() -> npt.NDArray[np.float32]:
    """(1440, 3): sine, cosine and night (before 7:00) of each minute of the day."""
    minute = np.arange(1440)
    angle = minute * (2 * math.pi / 1440)
    return np.stack([np.sin(angle), np.cos(angle), minute < 7 * 60], 1).astype(np.float32)


def _calendar() -> npt.NDArray[np.float32]:
    """(7, 3): sine, cosine and weekend of each day of the week, Monday first."""
    day = np.arange(7)
    angle = day * (2 * math.pi / 7)
    return np.stack([np.sin(angle), np.cos(angle), day >= 5], 1).astype(np.float32)


_CLOCK, _CALENDAR = _clock(), _calendar()


def new_card_state(n: int) -> npt.NDArray[Any]:
    """CARD_STATE[n] of cards that have never been seen."""
    return np.zeros(n, CARD_STATE)


def terminal_hash(terminal_id: str) -> int:
    """Stable 32-bit hash, the same in every process."""
    return zlib.crc32(terminal_id.encode())


def card_features(
    plan: SequencePlan,
    *,
    amount: npt.NDArray[np.float64],
    event_time: npt.NDArray[np.int64],
    terminal: npt.NDArray[np.uint32],
    state: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Features of a batch, and the cards' state after it.

    Args:
        plan: of the cards' rows, B events over U cards.
        amount: (B,) float64 in order of arrival, 0 to 1e9.
        event_time: (B,) int64 ms, any; where a card's time goes backwards its gap counts as 0.
        terminal: (B,) uint32, `terminal_hash` of the terminal.
        state: (U,) CARD_STATE before the batch, aligned with ``plan.rows``; left as it is.

    Returns:
        x: (B, F) float32 in packed order, columns as in `CARD_FEATURES`, finite.
        state: (U,) CARD_STATE after the batch, aligned with ``plan.rows``.
    """
    # 1. Packed order: the previous event of a slot in wave t is its lane's slot in wave t - 1.
    alive = len(plan.rows)
    amount, time = amount[plan.packed], event_time[plan.packed]
    terminal = terminal[plan.packed]
    before = np.arange(alive, len(plan)) - np.repeat(plan.sizes[:-1], plan.sizes[1:])
    last_time = np.concatenate([state["last_time"], time[before]])
    last_terminal = np.concatenate([state["last_terminal"], terminal[before]])
    count = state["count"][plan.lane] + plan.wave.astype(np.float64)
    first = count == 0

    # 2. The card's usual amount and its deviation, before this transaction.
    after = state.copy()
    usual, deviation = _usual_amounts(plan, amount, after)
    times = amount / usual
    ratio = np.log(np.maximum(times, 0.02))

    # 3. The time since its previous one, in seconds; float64 so that no int64 overflows.
    gap = np.maximum(time.astype(np.float64) - last_time, 0.0) * 1e-3
    gap[first] = _FIRST_GAP_S

    # 4. Columns, each brought to about -2..2.
    day, in_day = np.divmod(time, _DAY_MS)
    x = np.empty((len(plan), len(CARD_FEATURES)), np.float32)
    x[:, 0] = np.log(1.0 + amount) - 3.6
    x[:, 1] = np.minimum(amount, 500.0) * 0.01 - 0.5
    x[:, 2] = np.clip((amount - usual) / deviation, -3.0, 15.0) * (1 / 3)
    x[:, 3] = np.minimum(ratio, 4.0)
    x[:, 4] = np.minimum(times, 8.0) * 0.5 - 0.5
    x[:, 5] = np.log(usual) - 3.8
    x[:, 6] = np.minimum(deviation / usual, 3.0) - 0.5
    x[:, 7] = np.log(1.0 + gap) * 0.25 - 2.5
    x[:, 8] = gap < 60.0
    x[:, 9] = gap < 3600.0
    x[:, 10:13] = _CLOCK[in_day // 60_000]
    x[:, 13:16] = _CALENDAR[(day + 3) % 7]  # 1 January 1970 was a Thursday
    x[:, 16] = (last_terminal == terminal) & ~first
    x[:, 17] = np.log(1.0 + count) * 0.25

    # 5. The state after each card's last event.
    last = plan.last
    _remember_large(plan, after, times, time)
    after["count"] = state["count"] + (plan.wave[last] + 1).astype(np.uint32)
    after["last_terminal"] = terminal[last]
    after["last_time"] = time[last]
    return x, after


def _remember_large(
    plan: SequencePlan,
    after: npt.NDArray[Any],
    times_usual: npt.NDArray[np.float64],
    time: npt.NDArray[np.int64],
) -> None:
    """Write the large transactions of a batch into their cards' rings, in order of arrival."""
    # Wave by wave, that is in order of arrival within a card.
    slots = np.flatnonzero(times_usual >= LARGE_RATIO)
    if not len(slots):
        return
    lanes = plan.lane[slots]
    by_lane = np.argsort(lanes, kind="stable")
    slots, lanes = slots[by_lane], lanes[by_lane]
    starts = np.flatnonzero(np.diff(lanes, prepend=-1))
    counts = np.diff(starts, append=len(lanes))
    rank = np.arange(len(lanes)) - np.repeat(starts, counts)
    place = (after["large_count"][lanes].astype(np.int64) + rank) % LARGE_KEPT
    # Of several that share a place the last one stays: numpy assigns in order.
    after["large_time"][lanes, place] = time[slots]
    after["large_ratio"][lanes, place] = np.minimum(times_usual[slots], 100.0)
    after["large_count"][lanes[starts]] += counts.astype(np.uint64)


def large_before(
    plan: SequencePlan,
    state: npt.NDArray[Any],
    x: npt.NDArray[np.float32],
    event_time: npt.NDArray[np.int64],
    slot: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Which large transactions a card had before one of a batch, as far as they are remembered.

    Args:
        plan: of the batch, B events over U cards.
        state: (U,) CARD_STATE before it.
        x: (B, F) packed, its features.
        event_time: (B,) int64 ms, packed.
        slot: of the transaction.

    Returns:
        (K,) int64 ms and (K,) float32, times the card's usual amount at that time, at most 50;
        the last `LARGE_KEPT` in order of arrival, wherever the stream was cut into batches.
    """
    lane, wave = plan.lane[slot], plan.wave[slot]
    earlier = (np.cumsum(plan.sizes) - plan.sizes)[:wave] + lane
    times = np.exp(x[earlier, CARD_FEATURES.index("amount_ratio")])
    large = times >= LARGE_RATIO
    card = state[lane]
    count = int(card["large_count"])
    kept = np.arange(max(count - LARGE_KEPT, 0), count) % LARGE_KEPT
    time = np.concatenate([card["large_time"][kept], event_time[earlier][large]])
    ratio = np.concatenate([card["large_ratio"][kept], times[large]])
    return time[-LARGE_KEPT:], np.minimum(ratio[-LARGE_KEPT:], 50.0)


def _usual_amounts(
    plan: SequencePlan, amount: npt.NDArray[np.float64], after: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(B,), (B,) packed: usual amount and its deviation before each slot; `after` is advanced.

    Exponentially weighted once a card is old, plain means before; with a prior worth one
    transaction. One wave after the other, for what counts depends on what was usual before.
    """
    usual, spread = np.empty_like(amount), np.empty_like(amount)
    mean, variance = after["mean"].copy(), after["variance"].copy()
    count = after["count"].astype(np.float64)
    begin = 0
    for alive in plan.sizes.tolist():
        wave = slice(begin, begin + alive)
        m, v, c, a = mean[:alive], variance[:alive], count[:alive], amount[wave]
        n = np.minimum(c, 1 / _LEAST_WEIGHT)
        usual[wave] = (m * n + _PRIOR_MEAN) / (n + 1.0)
        spread[wave] = (v * n + _PRIOR_VARIANCE) / (n + 1.0)
        a = np.where(c >= _KNOWN, np.minimum(a, _MOST_TIMES * usual[wave]), a)
        c += 1.0
        weight = np.maximum(1.0 / c, _LEAST_WEIGHT)
        off = a - m
        m += weight * off
        v += weight * off * off
        v *= 1.0 - weight
        begin += alive
    after["mean"], after["variance"] = mean, variance
    return usual, np.sqrt(spread)

"""What the network sees of a transaction: the one feature code of training and of serving.

A card's memory outside the network: how many transactions, the sums of log amount and of its
square, when and where the last one was, and which of the last ones were unusually large (evidence
for `models.fraud.evidence`). `card_features` reads and advances it. Cutting the same stream into
other batches gives the same features and the same state to the last bit.
"""

import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.sequences import SequencePlan

LARGE_RATIO = 2.5
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
        ("log_sum", "<f8"),
        ("log_sumsq", "<f8"),
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

# A new card is taken for an ordinary one, worth a few transactions: e^3.6 is about 37.
_PRIOR_COUNT, _PRIOR_MEAN, _PRIOR_DEVIATION = 3.0, 3.6, 0.9
_FIRST_GAP_S = 30 * 86_400.0
_DAY_MS = 86_400_000
# Logs rounded to 1/4096 have sums, and sums of squares, that float64 holds exactly, so neither
# depends on the order of addition. 1/4096 is 0.02 % of an amount.
_GRAIN = 4096.0


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

    # 2. The card's running mean and deviation of log amount, before this transaction.
    log_amount = np.log(1.0 + amount)
    grain = np.rint(log_amount * _GRAIN) * (1 / _GRAIN)
    log_sum = _sum_before(plan, grain, state["log_sum"])
    log_sumsq = _sum_before(plan, grain * grain, state["log_sumsq"])
    weight = 1.0 / (count + _PRIOR_COUNT)
    mean = (log_sum + _PRIOR_COUNT * _PRIOR_MEAN) * weight
    prior_square = _PRIOR_COUNT * (_PRIOR_MEAN**2 + _PRIOR_DEVIATION**2)
    variance = (log_sumsq + prior_square) * weight - mean * mean
    deviation = np.sqrt(np.maximum(variance, 0.01))

    # 3. The time since its previous one, in seconds; float64 so that no int64 overflows.
    gap = np.maximum(time.astype(np.float64) - last_time, 0.0) * 1e-3
    gap[first] = _FIRST_GAP_S

    # 4. Columns, each brought to about -2..2.
    day, in_day = np.divmod(time, _DAY_MS)
    ratio = log_amount - mean
    x = np.empty((len(plan), len(CARD_FEATURES)), np.float32)
    x[:, 0] = log_amount - _PRIOR_MEAN
    x[:, 1] = np.minimum(amount, 500.0) * 0.01 - 0.5
    x[:, 2] = np.clip(ratio / deviation, -6.0, 6.0) * 0.5
    x[:, 3] = np.clip(ratio, -4.0, 4.0)
    x[:, 4] = mean - _PRIOR_MEAN
    x[:, 5] = deviation - _PRIOR_DEVIATION
    x[:, 6] = np.log(1.0 + gap) * 0.25 - 2.5
    x[:, 7] = gap < 60.0
    x[:, 8] = gap < 3600.0
    x[:, 9:12] = _CLOCK[in_day // 60_000]
    x[:, 12:15] = _CALENDAR[(day + 3) % 7]  # 1 January 1970 was a Thursday
    x[:, 15] = (last_terminal == terminal) & ~first
    x[:, 16] = np.log(1.0 + count) * 0.25

    # 5. The state after each card's last event.
    last = plan.last
    after = state.copy()
    _remember_large(plan, after, ratio, time)
    after["count"] = state["count"] + (plan.wave[last] + 1).astype(np.uint32)
    after["last_terminal"] = terminal[last]
    after["last_time"] = time[last]
    after["log_sum"] = log_sum[last] + grain[last]
    after["log_sumsq"] = log_sumsq[last] + grain[last] ** 2
    return x, after


def _remember_large(
    plan: SequencePlan,
    after: npt.NDArray[Any],
    log_ratio: npt.NDArray[np.float64],
    time: npt.NDArray[np.int64],
) -> None:
    """Write the large transactions of a batch into their cards' rings, in order of arrival."""
    slots = np.flatnonzero(
        log_ratio >= math.log(LARGE_RATIO)
    )  # wave by wave: arrival within a card
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
    after["large_ratio"][lanes, place] = np.exp(np.minimum(log_ratio[slots], 4.0))
    after["large_count"][lanes[starts]] += counts.astype(np.uint64)


def _sum_before(
    plan: SequencePlan, value: npt.NDArray[np.float64], start: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(B,) packed: `start` of the card plus its values before each slot. `start` is by lane."""
    ordered = value[plan.dest]
    before = np.cumsum(ordered) - ordered
    before -= np.repeat(before[plan.starts], plan.counts)
    out = np.empty_like(value)
    out[plan.dest] = before
    return out + start[plan.lane]

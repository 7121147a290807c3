"""The terminal risk profile: what labels say about where a transaction takes place.

`apply_labels` writes profiles, `summarise` reads them as of a time, `profile_features` turns that
into inputs of the network.

What matters most is the terminal's last *run*: known frauds with no known genuine transaction
between them. A compromised terminal makes one; so its length, when it began, what was known just
before and what came after it tell whether the terminal is still in other hands. A fraud that its
card or its amount explains says little, so runs are also counted without those.

A transaction may only see labels that were known when it happened: ``labelled_at <= event_time``.
Folded labels cannot be told apart any more, so a reader from before the newest of them sees none of
them: less history rather than tomorrow's.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.verdicts import (
    FRAUD,
    GENUINE,
    LABEL,
    NEVER,
    PROFILE,
    RING,
    TAUS_DAYS,
    WITHDRAWN,
    apply_labels,
    decay,
    new_profiles,
    tx_hash,
)

__all__ = [
    "FRAUD",
    "GENUINE",
    "LABEL",
    "LONG_AGO",
    "NEVER",
    "PROFILE",
    "PROFILE_FEATURES",
    "PROFILE_SUMMARY",
    "RING",
    "TAUS_DAYS",
    "WITHDRAWN",
    "apply_labels",
    "new_profiles",
    "profile_features",
    "summarise",
    "tx_hash",
]

_DAY_MS = 86_400_000
_EXPLAINED_RATIO = 2.5  # a fraud this many times the card's usual amount is the card's
_LARGE_AMOUNT_SAYS = 5.0  # an amount that is mostly fraud anywhere explains as much as this ratio
_BURST_SAYS = 0.5  # one unit of excess near it explains as much as this much ratio
_MOST_BURST, _MOST_RATIO, _MOST_AMOUNT = 6.0, 8.0, 250.0
_NO_RATIO, _NO_EXPLANATION = 2.0, 2.5  # of a terminal without a run: as if its card explained all

LONG_AGO = -(1 << 20)
"""A calendar day before all: what never happened."""

DAYS: tuple[str, ...] = (
    "run_start",
    "before_run",
    "last_fraud",
    "after_run",
    "unexplained",
    "previous_run",
    "last_genuine",
)
"""Calendar days (UTC, since the epoch) of a summary: first fraud of the last run, last genuine one
before it, its last fraud, first genuine one after it, its first fraud that neither card nor amount
explains, first fraud of the run before it, newest genuine one. `LONG_AGO` if none."""

PROFILE_FEATURES: tuple[str, ...] = (
    *(f"days_since_{name}" for name in DAYS),
    "in_run",
    "log_run",
    "log_after",
    "log_unexplained",
    "log_previous_unexplained",
    "log_labels",
    "log_frauds",
    "log_least_ratio",
    "least_amount",
    "log_least_explained",
    "burst_of_least_explained",
    "burst_of_first",
    "risk_1d",
    "risk_7d",
    "risk_30d",
    "log_labels_1d",
    "log_labels_7d",
    "log_labels_30d",
)
_STILL = len(PROFILE_FEATURES) - len(DAYS)

PROFILE_SUMMARY = np.dtype(
    [
        ("newest", "<i8"),  # ms, newest labelled_at of all; a reader from before needs as_of
        ("day", "<i4", len(DAYS)),
        ("run", "<u4"),  # frauds of the last run that are still in the ring
        ("unexplained", "<u4"),  # those that neither card nor amount explains
        ("labels", "<u4"),  # labels that count
        ("frauds", "<u4"),
        ("still", "<f4", _STILL),  # features that do not depend on the time of reading
    ]
)

# Ages stop here: over twice the longest pause between two labels that still says something.
MAX_DAYS = 60


def summarise(
    profiles: npt.NDArray[Any],
    large_amount: float,
    as_of: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[Any]:
    """What the labels of each profile say, all of them or those known at a time.

    Args:
        profiles: (N,) PROFILE.
        large_amount: from which on an amount alone explains a fraud.
        as_of: (N,) int64 ms; labels with a later `labelled_at` do not count. None counts all.

    Returns:
        (N,) PROFILE_SUMMARY. `newest` looks at all labels even with `as_of`.
    """
    out = np.zeros(len(profiles), PROFILE_SUMMARY)
    ring = _Ring(profiles)
    time, until = ring.event_time, profiles["base_until"]

    # 1. Which labels count.
    used = np.arange(RING)[:, None] < profiles["ring_used"]
    counts = used & (ring.verdict != WITHDRAWN)
    based = np.ones(len(profiles), np.bool_)
    if as_of is not None:
        counts &= ring.labelled_at <= as_of
        based = until <= as_of
    fraud, genuine = counts & (ring.verdict == FRAUD), counts & (ring.verdict == GENUINE)
    base_genuine = np.where(based, profiles["base_genuine"], NEVER)

    # 2. The last run of frauds, what lies around it, and the run before that one. A genuine one of
    #    the very moment of a fraud is neither before nor after it.
    last_fraud = _newest(time, fraud)
    base_genuine_before = np.where(base_genuine < last_fraud, base_genuine, NEVER)
    before = np.maximum(_newest(time, genuine & (time < last_fraud)), base_genuine_before)
    after = genuine & (time > last_fraud) & (last_fraud != NEVER)
    run = fraud & (time > before)
    previous_fraud = _newest(time, fraud & ~run)
    earlier = _newest(time, genuine & (time < previous_fraud))
    previous = fraud & ~run & (time > earlier)

    # 3. Which frauds neither their card nor their amount explains.
    large = ring.amount >= large_amount
    unexplained = (ring.ratio < _EXPLAINED_RATIO) & ~large
    has_run = run.any(0)
    days = {
        "run_start": _oldest_day(time, run),
        "before_run": np.where(has_run, _day(before), LONG_AGO),
        "last_fraud": _day(last_fraud),
        "after_run": _oldest_day(time, after),
        "unexplained": _oldest_day(time, run & unexplained),
        "previous_run": _oldest_day(time, previous),
        "last_genuine": _day(np.maximum(_newest(time, genuine), base_genuine)),
    }
    for place, name in enumerate(DAYS):
        out["day"][:, place] = days[name]
    out["newest"] = np.maximum(until, _newest(ring.labelled_at, used))
    out["run"] = run.sum(0)
    out["unexplained"] = (run & unexplained).sum(0)
    out["labels"] = counts.sum(0) + np.where(based, profiles["folded"], 0)
    out["frauds"] = fraud.sum(0) + np.where(based, profiles["folded_frauds"], 0)

    # 4. Features that only the labels decide.
    still = out["still"]
    still[:, 0] = has_run
    still[:, 1] = np.log1p(out["run"])
    still[:, 2] = np.log1p(after.sum(0))
    still[:, 3] = np.log1p(out["unexplained"])
    still[:, 4] = np.log1p((previous & unexplained).sum(0))
    still[:, 5] = np.log1p(out["labels"]) * 0.5 - 1.5
    still[:, 6] = np.log1p(out["frauds"])
    still[:, 7:12] = _explanation(ring, run, large)
    n, f = _decayed(profiles, based, time, counts, fraud)
    still[:, 12:15] = f / (n + 1.0)
    still[:, 15:18] = np.log1p(n) - np.array([0.7, 1.5, 2.0])
    return out


class _Ring:
    """The rings of N profiles, (RING, N) each.

    A reduction over the first axis runs over rows of N, many times faster than N reductions of 32.
    """

    def __init__(self, profiles: npt.NDArray[Any]) -> None:
        def column(name: str) -> npt.NDArray[Any]:
            return np.ascontiguousarray(profiles[f"ring_{name}"].T)

        self.event_time, self.labelled_at = column("event_time"), column("labelled_at")
        self.verdict, self.amount = column("verdict"), column("amount")
        self.ratio, self.burst = column("ratio"), np.minimum(column("burst"), _MOST_BURST)


def _explanation(
    ring: _Ring, run: npt.NDArray[np.bool_], large: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """(N, 5): how far cards and amounts explain the frauds of a run, the least explained above all.

    Columns are ``log_least_ratio`` to ``burst_of_first`` of `PROFILE_FEATURES`.
    """
    out = np.tile(np.array([_NO_RATIO, 0.0, _NO_EXPLANATION, 0.0, 0.0]), (run.shape[1], 1))
    some = np.flatnonzero(run.any(0))
    within = run[:, some]  # (RING, S)
    explained = ring.ratio[:, some] + _BURST_SAYS * ring.burst[:, some]
    explained += _LARGE_AMOUNT_SAYS * large[:, some]
    time, burst = ring.event_time[:, some], ring.burst[:, some]
    least = np.where(within, explained, np.inf).min(0)  # (RING, S) -> (S,)
    first = np.where(within, time, np.iinfo(np.int64).max).min(0)
    # Of several alike the greatest burst: where in the ring they stand may not matter.
    burst_of_least = np.where(within & (explained == least), burst, 0.0).max(0)
    burst_of_first = np.where(within & (time == first), burst, 0.0).max(0)
    ratio = np.where(within, ring.ratio[:, some], np.inf).min(0, initial=_MOST_RATIO)
    amount = np.where(within, ring.amount[:, some], np.inf).min(0, initial=_MOST_AMOUNT)
    out[some, 0] = np.log(ratio)
    out[some, 1] = amount * 0.01
    out[some, 2] = np.log(np.clip(least, 1.0, 12.0))
    out[some, 3] = burst_of_least * 0.25
    out[some, 4] = burst_of_first * 0.25
    return out


def profile_features(
    summary: npt.NDArray[Any], event_time: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Inputs of the network from the summaries of the terminals of B transactions.

    Args:
        summary: (B,) PROFILE_SUMMARY, as of each transaction.
        event_time: (B,) int64 ms.

    Returns:
        (B, P) float32, columns as in `PROFILE_FEATURES`, finite. Days are whole calendar days,
        0 to `MAX_DAYS`, over 30, less 1.
    """
    x = np.empty((len(summary), len(PROFILE_FEATURES)), np.float32)
    ages = (event_time // _DAY_MS).astype(np.int32)[:, None] - summary["day"]
    x[:, : len(DAYS)] = np.clip(ages, 0, MAX_DAYS)
    x[:, : len(DAYS)] *= 1 / 30
    x[:, : len(DAYS)] -= 1.0
    x[:, len(DAYS) :] = summary["still"]
    return x


def _newest(time: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(RING, N) -> (N,) ms, NEVER if none."""
    newest: npt.NDArray[np.int64] = np.where(where, time, NEVER).max(0)
    return newest


def _oldest_day(time: npt.NDArray[np.int64], where: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(RING, N) -> (N,) calendar day, LONG_AGO if none."""
    never = np.iinfo(np.int64).max
    oldest = np.where(where, time, never).min(0)
    return np.where(oldest == never, LONG_AGO, _day(oldest))


def _day(time: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(N,) ms -> (N,) calendar day, LONG_AGO for NEVER."""
    return np.maximum(time // _DAY_MS, LONG_AGO)


def _decayed(
    profiles: npt.NDArray[Any],
    based: npt.NDArray[np.bool_],
    time: npt.NDArray[np.int64],
    counts: npt.NDArray[np.bool_],
    fraud: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N, 3), (N, 3): labels and frauds, decayed with each of `TAUS_DAYS`.

    Brought to the newest transaction that counts: labels arrive days late, and a count with a time
    constant of one day would have faded.
    """
    base_time = np.where(based, profiles["base_time"], NEVER)
    ref = np.maximum(base_time, _newest(time, counts))
    keep = decay(ref, base_time) * based[:, None]
    n, f = profiles["base_n"] * keep, profiles["base_f"] * keep
    age = np.where(counts, ref.astype(np.float64) - time, np.inf) * (1 / _DAY_MS)  # (RING, N)
    frauds = np.flatnonzero(fraud.any(0))
    for k, tau in enumerate(TAUS_DAYS):
        weight = np.exp(age * (-1 / tau))
        n[:, k] += weight.sum(0)
        f[frauds, k] += np.where(fraud[:, frauds], weight[:, frauds], 0.0).sum(0)
    return n, f

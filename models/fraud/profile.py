"""The terminal risk profile: what labels say about where a transaction takes place.

`apply_labels` writes profiles, `summarise` reads them as of a time, `profile_features` turns that
into inputs of the network.

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

PROFILE_SUMMARY = np.dtype(
    [
        ("newest", "<i8"),  # ms, newest labelled_at of all; a reader from before needs as_of
        ("ref", "<i8"),  # ms, newest event time that counts; n and f are decayed to it
        ("last_fraud", "<i8"),  # ms, event time, NEVER if none
        ("last_genuine", "<i8"),
        ("run_start", "<i8"),  # ms, event time of the first fraud after the last genuine
        ("n", "<f8", 3),
        ("f", "<f8", 3),
        ("run", "<u4"),  # frauds since the last genuine, at most RUN_LIMIT
        ("after", "<u4"),  # genuine ones since the last fraud, at most RUN_LIMIT
        ("labels", "<u4"),  # number of labels that count
        ("frauds", "<u4"),  # frauds among those that are still in the ring
    ]
)

# Half the ring: a count that stops there is the same whether or not newer labels, which do not
# count yet, have pushed older ones out of the ring.
RUN_LIMIT = RING // 2

_DAY_MS = 86_400_000.0


def summarise(
    profiles: npt.NDArray[Any], as_of: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[Any]:
    """What the labels of each profile say, all of them or those known at a time.

    Args:
        profiles: (N,) PROFILE.
        as_of: (N,) int64 ms; labels with a later `labelled_at` do not count. None counts all.

    Returns:
        (N,) PROFILE_SUMMARY. `newest` looks at all labels even with `as_of`.
    """
    out = np.zeros(len(profiles), PROFILE_SUMMARY)
    verdict, time = profiles["ring_verdict"], profiles["ring_event_time"]  # (N, RING)
    labelled_at, until = profiles["ring_labelled_at"], profiles["base_until"]

    # 1. Which labels count.
    used = np.arange(RING) < profiles["ring_used"][:, None]
    counts = used & (verdict != WITHDRAWN)
    based = np.ones(len(profiles), np.bool_)
    if as_of is not None:
        counts &= labelled_at <= as_of[:, None]
        based = until <= as_of
    fraud, genuine = counts & (verdict == FRAUD), counts & (verdict == GENUINE)
    base = {
        name: np.where(based, profiles[name], NEVER)
        for name in ("base_time", "base_fraud", "base_genuine", "base_run")
    }

    # 2. Decayed counts, brought to the newest event time that counts.
    ref = np.maximum(base["base_time"], np.max(time, 1, initial=NEVER, where=counts))
    n, f = _ring_counts(ref, time, counts, fraud)
    keep = decay(ref, base["base_time"]) * based[:, None]
    out["n"] = profiles["base_n"] * keep + n
    out["f"] = profiles["base_f"] * keep + f

    # 3. The runs at the end, by event time.
    last_fraud = np.maximum(base["base_fraud"], np.max(time, 1, initial=NEVER, where=fraud))
    last_genuine = np.maximum(base["base_genuine"], np.max(time, 1, initial=NEVER, where=genuine))
    in_run = fraud & (time > last_genuine[:, None])
    far = np.iinfo(np.int64).max
    run_start = np.minimum(
        np.where(base["base_run"] > last_genuine, base["base_run"], far),
        np.min(time, 1, initial=far, where=in_run),
    )
    after = (genuine & (time > last_fraud[:, None])).sum(1)
    out["newest"] = np.maximum(until, np.max(labelled_at, 1, initial=NEVER, where=used))
    out["ref"], out["last_fraud"], out["last_genuine"] = ref, last_fraud, last_genuine
    out["run_start"] = np.where(run_start == far, NEVER, run_start)
    out["run"] = np.minimum(in_run.sum(1), RUN_LIMIT)
    out["after"] = np.minimum(after, RUN_LIMIT)
    out["labels"] = counts.sum(1) + np.where(based, profiles["folded"], 0)
    out["frauds"] = fraud.sum(1)
    return out


def _ring_counts(
    ref: npt.NDArray[np.int64],
    time: npt.NDArray[np.int64],
    counts: npt.NDArray[np.bool_],
    fraud: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N, 3) decayed labels and frauds of the ring at `ref`."""
    days = (ref[:, None].astype(np.float64) - time) * (1 / _DAY_MS)
    n = np.zeros((len(ref), len(TAUS_DAYS)))
    f = np.zeros_like(n)
    for k, tau in enumerate(TAUS_DAYS):
        weight = np.exp(np.where(counts, days, np.inf) * (-1 / tau))
        n[:, k] = weight.sum(1)
        f[:, k] = weight.sum(1, where=fraud)
    return n, f


PROFILE_FEATURES: tuple[str, ...] = (
    "log_labels_1d",
    "log_labels_7d",
    "log_labels_30d",
    "risk_1d",
    "risk_7d",
    "risk_30d",
    "log_days_since_fraud",
    "log_days_since_genuine",
    "log_days_in_run",
    "days_since_fraud",
    "days_since_genuine",
    "days_in_run",
    "log_run",
    "log_after",
    "has_fraud",
    "has_genuine",
    "in_run",
)

# Ages stop at 60 days: over twice the longest pause between two labels that still says something.
_MAX_DAYS = 60.0


def profile_features(
    summary: npt.NDArray[Any], event_time: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Inputs of the network from the summaries of the terminals of B transactions.

    Counts and risks are those at the newest labelled transaction (labels arrive days late, and a
    count with a time constant of one day would have faded); how long ago that was is told apart.

    Args:
        summary: (B,) PROFILE_SUMMARY, as of each transaction.
        event_time: (B,) int64 ms.

    Returns:
        (B, P) float32, columns as in `PROFILE_FEATURES`, finite.
    """
    x = np.empty((len(summary), len(PROFILE_FEATURES)), np.float32)
    n, f = summary["n"].astype(np.float32), summary["f"].astype(np.float32)
    x[:, 0:3] = np.log(1.0 + n)
    x[:, 3:6] = f / (n + 1.0)
    dates = np.stack([summary[name] for name in ("last_fraud", "last_genuine", "run_start")], 1)
    age_ms = event_time[:, None].astype(np.float64) - dates
    days = np.clip(age_ms * (1 / _DAY_MS), 0.0, _MAX_DAYS).astype(np.float32)
    x[:, 6:9] = np.log(1.0 + days) - 2.0
    x[:, 9:12] = days * (1 / 30.0) - 1.0
    x[:, 12] = np.log(1.0 + summary["run"].astype(np.float32))
    x[:, 13] = np.log(1.0 + summary["after"].astype(np.float32))
    x[:, 14:17] = dates != NEVER
    return x

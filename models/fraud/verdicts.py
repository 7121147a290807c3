"""Labels as they arrive: the record that a profile is, and how a verdict enters it.

A profile keeps the newest `RING` labels of a terminal one by one, so that a verdict can be replaced
or withdrawn and so that a reader can ask for the past; what is older is folded into decayed counts.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.sequences import SequencePlan

RING = 32
TAUS_DAYS = (1.0, 7.0, 30.0)
NEVER = np.iinfo(np.int64).min
FRAUD, GENUINE, WITHDRAWN = 1, 0, -1

PROFILE = np.dtype(
    [
        ("base_time", "<i8"),  # ms, newest event time folded; the base counts are decayed to it
        ("base_until", "<i8"),  # ms, newest labelled_at folded
        ("base_tx", "<u8"),  # whose label that was
        ("base_fraud", "<i8"),  # ms, newest event time of a folded fraud
        ("base_genuine", "<i8"),  # ms, newest event time of a folded genuine transaction
        ("base_run", "<i8"),  # ms, first event time of the folded frauds after base_genuine
        ("base_n", "<f8", 3),  # decayed number of labels folded, one for each of TAUS_DAYS
        ("base_f", "<f8", 3),  # frauds among them
        ("ring_tx", "<u8", RING),
        ("ring_event_time", "<i8", RING),
        ("ring_labelled_at", "<i8", RING),
        ("ring_verdict", "i1", RING),
        ("ring_used", "<u4"),
        ("folded", "<u4"),  # number of labels folded
    ]
)

_LABEL_FIELDS = ("tx", "event_time", "labelled_at", "verdict")
_LABEL = np.dtype(list(zip(_LABEL_FIELDS, ("<u8", "<i8", "<i8", "i1"), strict=True)))
_DAY_MS = 86_400_000.0


def new_profiles(n: int) -> npt.NDArray[Any]:
    """PROFILE[n] of terminals without labels."""
    profiles = np.zeros(n, PROFILE)
    for name in ("base_time", "base_until", "base_fraud", "base_genuine", "base_run"):
        profiles[name] = NEVER
    return profiles


def tx_hash(tx_id: str) -> int:
    """Stable 64-bit hash, the same in every process."""
    return int.from_bytes(hashlib.blake2b(tx_id.encode(), digest_size=8).digest(), "little")


def apply_labels(
    plan: SequencePlan,
    *,
    tx: npt.NDArray[np.uint64],
    event_time: npt.NDArray[np.int64],
    labelled_at: npt.NDArray[np.int64],
    verdict: npt.NDArray[np.int8],
    profiles: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Apply a batch of labels in order of arrival.

    A verdict on a transaction in the ring replaces the older one; the later `labelled_at` wins, the
    later arrival on a tie. With the ring full the label with the oldest `labelled_at`, the new one
    included, is folded into the base; a withdrawn one vanishes there. A label older than the newest
    folded one is refused, for it may have been folded itself: so a repeated label changes nothing
    (where many labels of a terminal share one `labelled_at`, a repeat of a folded one can count).

    Args:
        plan: of the terminals' rows, B labels over U terminals.
        tx: (B,) uint64, `tx_hash` of the labelled transaction.
        event_time: (B,) int64 ms, when that transaction happened.
        labelled_at: (B,) int64 ms, when the verdict was given.
        verdict: (B,) int8, FRAUD, GENUINE or WITHDRAWN.
        profiles: (U,) PROFILE before the batch, aligned with ``plan.rows``; left as it is.

    Returns:
        profiles: (U,) PROFILE after the batch, aligned with ``plan.rows``.
        stale: (B,) bool in order of arrival, labels that came too late to count.
    """
    labels = np.empty(len(plan), _LABEL)
    columns: tuple[npt.NDArray[Any], ...] = (tx, event_time, labelled_at, verdict)
    for name, column in zip(_LABEL_FIELDS, columns, strict=True):
        labels[name] = column[plan.packed]
    profiles, late = profiles.copy(), np.empty(len(plan), np.bool_)
    begin = 0
    for alive in plan.sizes.tolist():
        wave = slice(begin, begin + alive)
        late[wave] = _apply_wave(profiles[:alive], labels[wave])
        begin += alive
    stale = np.empty_like(late)
    stale[plan.packed] = late
    return profiles, stale


def _apply_wave(profiles: npt.NDArray[Any], label: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """One label for each of A profiles, in place; returns which were stale, (A,) bool."""
    lanes = np.arange(len(profiles))
    used = profiles["ring_used"]
    labelled_at, ring_labelled_at = label["labelled_at"], profiles["ring_labelled_at"]

    # 1. Is the transaction known, and is this verdict on it older than what we have?
    match = (profiles["ring_tx"] == label["tx"][:, None]) & (np.arange(RING) < used[:, None])
    place = match.argmax(1)  # (A, RING) -> (A,)
    known = match[lanes, place]
    newest = np.where(known, ring_labelled_at[lanes, place], profiles["base_until"])
    folded = ~known & (labelled_at == newest) & (label["tx"] == profiles["base_tx"])
    stale: npt.NDArray[np.bool_] = (labelled_at < newest) | folded

    # 2. Where there is no room the oldest label makes it; the new one, if it is the oldest.
    crowded = np.flatnonzero(~known & ~stale & (used == RING))
    oldest = ring_labelled_at[crowded].argmin(1)
    passed = labelled_at[crowded] < ring_labelled_at[crowded, oldest]
    leaving = label[crowded]
    for name in _LABEL_FIELDS:
        ring = profiles["ring_" + name][crowded, oldest]
        leaving[name] = np.where(passed, leaving[name], ring)
    profiles[crowded] = _fold(profiles[crowded], leaving)

    # 3. Write the others into the ring.
    grown = ~known & ~stale & (used < RING)
    place[grown] = used[grown]
    place[crowded] = oldest
    kept = ~stale
    kept[crowded[passed]] = False
    for name in _LABEL_FIELDS:
        profiles["ring_" + name][lanes[kept], place[kept]] = label[name][kept]
    profiles["ring_used"] += grown
    return stale


def _fold(base: npt.NDArray[Any], label: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The profiles (C,) with one label each folded into their base."""
    event_time, verdict = label["event_time"], label["verdict"]
    counted, fraud, genuine = verdict != WITHDRAWN, verdict == FRAUD, verdict == GENUINE
    base["base_until"] = label["labelled_at"]  # never older than what was folded before
    base["base_tx"] = label["tx"]

    # 1. Decayed counts, brought to the newer of the two times.
    time = np.where(counted, np.maximum(base["base_time"], event_time), base["base_time"])
    keep, weight = decay(time, base["base_time"]), decay(time, event_time)  # (C, 3)
    base["base_n"] = base["base_n"] * keep + weight * counted[:, None]
    base["base_f"] = base["base_f"] * keep + weight * fraud[:, None]
    base["base_time"] = time
    base["folded"] += counted

    # 2. The run of frauds at the end: a genuine one breaks it, the first fraud after starts it.
    last = np.where(genuine, np.maximum(base["base_genuine"], event_time), base["base_genuine"])
    run = np.where(base["base_run"] > last, base["base_run"], NEVER)
    joins = fraud & (event_time > last)
    run = np.where(joins & ((run == NEVER) | (event_time < run)), event_time, run)
    base["base_genuine"], base["base_run"] = last, run
    base["base_fraud"] = np.where(
        fraud, np.maximum(base["base_fraud"], event_time), base["base_fraud"]
    )
    return base


def decay(now: npt.NDArray[np.int64], then: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(N, 3): what is left at `now` of a count of 1 at `then`, for each of `TAUS_DAYS`."""
    days = np.maximum(now.astype(np.float64) - then.astype(np.float64), 0.0) * (1 / _DAY_MS)
    left: npt.NDArray[np.float64] = np.exp(-days[:, None] / np.array(TAUS_DAYS))
    return left

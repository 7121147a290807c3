"""Labels as they arrive: the record that a profile is, and how a verdict enters it.

A profile keeps the verdicts on the `RING` newest labelled transactions of a terminal one by one, so
that a verdict can come late, be replaced or be withdrawn, and so that a reader can ask for the
past. In which order they arrived leaves no trace. Older ones are folded into counts; of the frauds
among these the newest are kept apart, so that a chargeback counts that comes after dozens of newer
verdicts, as it does at a busy terminal.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.sequences import SequencePlan

RING = 32
"""A month of the average terminal of the benchmark, which takes one transaction a day."""

AMENDABLE = 8
"""Folded frauds that are known one by one: verdicts on them may still come, or change."""

TAUS_DAYS = (1.0, 7.0, 30.0)
NEVER = np.iinfo(np.int64).min
FRAUD, GENUINE, WITHDRAWN = 1, 0, -1
COUNTED, SUPERSEDED, TOO_LATE = 0, 1, 2
"""Fates of a label: a newer verdict on its transaction is known, or it may have been folded."""

LABEL = np.dtype(
    [
        ("tx", "<u8"),  # `tx_hash` of the labelled transaction
        ("event_time", "<i8"),  # ms, when it happened
        ("labelled_at", "<i8"),  # ms, when the verdict was given
        ("amount", "<f4"),  # in the scoring currency
        ("ratio", "<f4"),  # times the card's usual amount, see `models.fraud.evidence`
        ("burst", "<f4"),  # other large transactions of the card near it
        ("verdict", "<i4"),  # FRAUD, GENUINE or WITHDRAWN
    ]
)

PROFILE = np.dtype(
    [
        ("base_time", "<i8"),  # ms, newest event time folded; the base counts are decayed to it
        ("base_tx", "<u8"),  # whose that was
        ("base_until", "<i8"),  # ms, newest labelled_at folded
        ("base_genuine", "<i8"),  # ms, newest event time of a folded genuine transaction
        ("base_n", "<f8", 3),  # decayed number of labels folded, one for each of TAUS_DAYS
        ("base_f", "<f8", 3),  # frauds among them
        ("folded", "<u4"),  # number of labels folded
        ("folded_frauds", "<u4"),
        # Folded transactions whose verdict is, or was, fraud: the newest of them.
        ("amendable_tx", "<u8", AMENDABLE),
        ("amendable_event_time", "<i8", AMENDABLE),
        ("amendable_labelled_at", "<i8", AMENDABLE),
        ("amendable_verdict", "<i4", AMENDABLE),
        ("amendable_used", "<u8"),
        ("settled_time", "<i8"),  # ms, newest event time that was among them and has left
        ("settled_tx", "<u8"),  # whose that was
        *((f"ring_{name}", LABEL[name], RING) for name in LABEL.names or ()),
        ("ring_used", "<u8"),
    ]
)

_DAY_MS = 86_400_000.0


def new_profiles(n: int) -> npt.NDArray[Any]:
    """PROFILE[n] of terminals without labels."""
    profiles = np.zeros(n, PROFILE)
    for name in ("base_time", "base_until", "base_genuine", "settled_time"):
        profiles[name] = NEVER
    return profiles


def tx_hash(tx_id: str) -> int:
    """Stable 64-bit hash, the same in every process."""
    return int.from_bytes(hashlib.blake2b(tx_id.encode(), digest_size=8).digest(), "little")


def apply_labels(
    plan: SequencePlan, labels: npt.NDArray[Any], profiles: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int8]]:
    """Apply a batch of labels in order of arrival.

    A verdict on a transaction in the ring replaces the older one; the later `labelled_at` wins, the
    later arrival on a tie. With the ring full the label of the oldest transaction, the new one
    included, is folded into the base; a withdrawn one vanishes there. A label of a transaction
    that is not in the ring and not newer than the newest folded one may have been folded itself.
    It counts where that can be told: as a fraud that is not among the newest folded frauds and
    newer than all that have left them, or as another verdict on one of these. Else it is refused:
    so a repeated label changes nothing, but for one that contradicts what was folded: a fraud that
    was folded as genuine counts, and as two labels, even if the genuine verdict was the later one.
    Counted or not, it moves `base_until`: a reader of the past sees no more of what is folded.

    Args:
        plan: of the terminals' rows, B labels over U terminals.
        labels: (B,) LABEL in order of arrival.
        profiles: (U,) PROFILE before the batch, aligned with ``plan.rows``; left as it is.

    Returns:
        profiles: (U,) PROFILE after the batch, aligned with ``plan.rows``.
        fates: (B,) int8 in order of arrival, `COUNTED`, `SUPERSEDED` or `TOO_LATE`.
    """
    packed = labels[plan.packed]
    profiles, of_packed = profiles.copy(), np.empty(len(plan), np.int8)
    begin = 0
    for alive in plan.sizes.tolist():
        wave = slice(begin, begin + alive)
        of_packed[wave] = _apply_wave(profiles[:alive], packed[wave])
        begin += alive
    fates = np.empty_like(of_packed)
    fates[plan.packed] = of_packed
    return profiles, fates


def _apply_wave(profiles: npt.NDArray[Any], label: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """One label for each of A profiles, in place; returns their fates, (A,)."""
    lanes = np.arange(len(profiles))
    used = profiles["ring_used"].astype(np.int64)
    time, tx = label["event_time"], label["tx"]

    # 1. Is the transaction known, with a newer verdict than this? Or may it have been folded?
    known, place = _find(tx, profiles["ring_tx"], used)
    older = label["labelled_at"] < profiles["ring_labelled_at"][lanes, place]
    gone = ~known & _not_newer(time, tx, profiles["base_time"], profiles["base_tx"])
    fates = np.where(known & older, SUPERSEDED, COUNTED).astype(np.int8)
    if gone.any():
        amended = profiles[gone]
        fates[gone] = _amend(amended, label[gone])
        profiles[gone] = amended

    # 2. Where there is no room the oldest transaction makes it; the new one, if it is the oldest.
    crowded = np.flatnonzero(~known & ~gone & (used == RING))
    oldest = _oldest(profiles["ring_event_time"][crowded], profiles["ring_tx"][crowded])
    leaving = np.empty(len(crowded), LABEL)
    for name in LABEL.names or ():
        leaving[name] = profiles[f"ring_{name}"][crowded, oldest]
    passed = _not_newer(time[crowded], tx[crowded], leaving["event_time"], leaving["tx"])
    leaving[passed] = label[crowded[passed]]
    profiles[crowded] = _fold(profiles[crowded], leaving)

    # 3. Write the others into the ring.
    grown = ~known & ~gone & (used < RING)
    place[grown] = used[grown]
    place[crowded] = oldest
    kept = ~gone & (fates == COUNTED)
    kept[crowded[passed]] = False
    for name in LABEL.names or ():
        profiles[f"ring_{name}"][lanes[kept], place[kept]] = label[name][kept]
    profiles["ring_used"] += grown
    return fates


def _find(
    tx: npt.NDArray[np.uint64], among: npt.NDArray[np.uint64], used: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """(A,), (A, R), (A,) -> whether each `tx` is among the first `used`, and at which place."""
    match = (among == tx[:, None]) & (np.arange(among.shape[1]) < used[:, None])
    place = match.argmax(1)  # (A, R) -> (A,)
    return match[np.arange(len(tx)), place], place


def _not_newer(
    time: npt.NDArray[np.int64],
    tx: npt.NDArray[np.uint64],
    than_time: npt.NDArray[np.int64],
    than_tx: npt.NDArray[np.uint64],
) -> npt.NDArray[np.bool_]:
    """Whether (time, tx) <= (than_time, than_tx): the order in which labels are folded."""
    not_newer: npt.NDArray[np.bool_] = (time < than_time) | ((time == than_time) & (tx <= than_tx))
    return not_newer


def _oldest(time: npt.NDArray[np.int64], tx: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """(C, RING), (C, RING) -> (C,) place of the smallest (time, tx)."""
    first = time == time.min(1, keepdims=True, initial=np.iinfo(np.int64).max)
    oldest: npt.NDArray[np.int64] = np.where(first, tx, np.iinfo(np.uint64).max).argmin(1)
    return oldest


def _fold(base: npt.NDArray[Any], label: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The profiles (C,) with one label each folded into their base, newer than all before it."""
    time, verdict = label["event_time"], label["verdict"]
    counted, fraud = verdict != WITHDRAWN, verdict == FRAUD
    keep = decay(time, base["base_time"])  # (C, 3)
    base["base_n"] = base["base_n"] * keep + counted[:, None]
    base["base_f"] = base["base_f"] * keep + fraud[:, None]
    base["base_time"], base["base_tx"] = time, label["tx"]
    base["base_until"] = np.maximum(base["base_until"], label["labelled_at"])
    base["base_genuine"] = np.where(verdict == GENUINE, time, base["base_genuine"])
    base["folded"] += counted
    base["folded_frauds"] += fraud
    if fraud.any():
        base[fraud] = _keep_apart(base[fraud], label[fraud])
    return base


def _amend(base: npt.NDArray[Any], label: npt.NDArray[Any]) -> npt.NDArray[np.int8]:
    """One label each on transactions from before what is folded (C,), in place; their fates."""
    lanes, verdict = np.arange(len(base)), label["verdict"]
    # 1. Which can be told from what was folded.
    known, place = _find(label["tx"], base["amendable_tx"], base["amendable_used"].astype(np.int64))
    older = label["labelled_at"] < base["amendable_labelled_at"][lanes, place]
    settled = _not_newer(label["event_time"], label["tx"], base["settled_time"], base["settled_tx"])
    new = ~known & ~settled & (verdict == FRAUD)
    fates = np.where(known, np.where(older, SUPERSEDED, COUNTED), np.where(new, COUNTED, TOO_LATE))

    # 2. Take the verdict before off the counts, add the new one.
    now = fates == COUNTED
    before = np.where(known, base["amendable_verdict"][lanes, place], WITHDRAWN)
    counted = now * ((verdict != WITHDRAWN).astype(np.int64) - (before != WITHDRAWN))
    fraud = now * ((verdict == FRAUD).astype(np.int64) - (before == FRAUD))
    left = decay(base["base_time"], label["event_time"])  # (C, 3)
    base["base_n"] += left * counted[:, None]
    base["base_f"] += left * fraud[:, None]
    base["folded"] = base["folded"] + counted
    base["folded_frauds"] = base["folded_frauds"] + fraud
    # Also of those that do not count: whoever reads the past must not see what the verdict was.
    base["base_until"] = np.maximum(base["base_until"], label["labelled_at"])

    # 3. Remember it.
    again = known & now
    for name in ("labelled_at", "verdict"):
        base[f"amendable_{name}"][lanes[again], place[again]] = label[name][again]
    if new.any():
        base[new] = _keep_apart(base[new], label[new])
    return fates.astype(np.int8)


def _keep_apart(base: npt.NDArray[Any], fraud: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The profiles (C,) with one folded fraud each among the newest; the oldest gives way."""
    lanes, used = np.arange(len(base)), base["amendable_used"].astype(np.int64)
    full = used == AMENDABLE
    time, tx = base["amendable_event_time"], base["amendable_tx"]
    place = np.where(full, _oldest(time, tx), used)  # a full one: of all its places
    leaving_time, leaving_tx = time[lanes, place % AMENDABLE], tx[lanes, place % AMENDABLE]
    passed = full & _not_newer(fraud["event_time"], fraud["tx"], leaving_time, leaving_tx)
    leaving_time = np.where(passed, fraud["event_time"], leaving_time)
    leaving_tx = np.where(passed, fraud["tx"], leaving_tx)
    base["settled_time"] = np.where(full, leaving_time, base["settled_time"])
    base["settled_tx"] = np.where(full, leaving_tx, base["settled_tx"])
    kept = ~passed
    for name in ("tx", "event_time", "labelled_at", "verdict"):
        base[f"amendable_{name}"][lanes[kept], place[kept]] = fraud[name][kept]
    base["amendable_used"] += ~full
    return base


def decay(now: npt.NDArray[np.int64], then: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(N, 3): what is left at `now` of a count of 1 at `then`, for each of `TAUS_DAYS`."""
    days = np.maximum(now.astype(np.float64) - then.astype(np.float64), 0.0) * (1 / _DAY_MS)
    left: npt.NDArray[np.float64] = np.exp(-days[:, None] / np.array(TAUS_DAYS))
    return left

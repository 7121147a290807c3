"""Detection delay: once a terminal's first fraud is labelled, how long until it raises an alert?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.fraud.transactions import Transactions

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class DetectionDelay:
    """Of the terminals that had a fraud and a transaction after its label.

    Attributes:
        terminal: (K,) int64 terminal numbers, as `Transactions.terminal_codes` has them.
        labelled: (K,) int64 ms, when the first of the terminal's frauds became known.
        days: (K,) float64 from then to the first alert on a transaction there; inf without one.
        transactions: (K,) int64 that went by unalerted in between.
    """

    terminal: npt.NDArray[np.int64]
    labelled: npt.NDArray[np.int64]
    days: npt.NDArray[np.float64]
    transactions: npt.NDArray[np.int64]


def detection_delay(
    transactions: Transactions,
    scores: npt.NDArray[np.floating],
    threshold: float,
    *,
    begin_ms: int | None = None,
    end_ms: int | None = None,
    label_delay_days: float = 7.0,
) -> DetectionDelay:
    """Measure the delay of each terminal.

    Only transactions at or after the label count: alerts before it came of other signs. A terminal
    whose first fraud is an ordinary one (a card's, not the terminal's) rightly stays silent, so not
    every inf is a failure.

    Args:
        transactions: N in order of time.
        scores: (N,) of them.
        threshold: an alert is a score that is not lower.
        begin_ms: only first frauds that are labelled at this time or later; None all.
        end_ms: time stops here; None at the end of the history.
        label_delay_days: from a fraud to its label.
    """
    time = transactions.event_time
    codes, number = transactions.terminal_codes()
    delay = round(label_delay_days * _DAY_MS)
    seen = np.ones(len(time), np.bool_) if end_ms is None else time < end_ms
    # 1. When each terminal's first fraud is labelled.
    never = np.iinfo(np.int64).max
    labelled = np.full(number, never)
    frauds = np.flatnonzero(transactions.is_fraud)
    np.minimum.at(labelled, codes[frauds], time[frauds] + delay)
    if begin_ms is not None:
        labelled[labelled < begin_ms] = never
    # 2. The first alert from then on.
    after = seen & (time >= labelled[codes])
    first = np.full(number, never)
    alerts = np.flatnonzero(after & (scores >= threshold))
    np.minimum.at(first, codes[alerts], time[alerts])
    # 3. What went by before it.
    missed = np.bincount(codes[after & (time < first[codes])], minlength=number)
    terminal = np.flatnonzero(np.bincount(codes[after], minlength=number))
    days = np.where(
        first[terminal] == never, np.inf, (first[terminal] - labelled[terminal]) / _DAY_MS
    )
    return DetectionDelay(terminal, labelled[terminal], days, missed[terminal])

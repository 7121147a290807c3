"""Fairness slices: is a group of transactions judged worse, or flagged more often, than another?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.fraud.evaluation import average_precision, roc_auc
from models.fraud.transactions import Transactions

_MONTH_MS = 30 * 86_400_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Measures of one group; those without a meaning there (no fraud, no alert) are nan.

    Attributes:
        low: lowest value of the group.
        high: highest value.
        count: transactions in it.
        frauds: of these.
        alert_rate: share with a score at the threshold or above.
        precision: of the alerts, the share of frauds.
        recall: of the frauds, the share with an alert.
    """

    low: float
    high: float
    count: int
    frauds: int
    auc: float
    ap: float
    alert_rate: float
    precision: float
    recall: float


def measure_slices(
    truth: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    value: npt.NDArray[np.floating] | npt.NDArray[np.int64],
    threshold: float,
    parts: int = 10,
) -> list[Slice]:
    """Cut N transactions into groups of like size by a value, and measure each.

    Equal values stay together, so there may be fewer than `parts` groups, and they may differ in
    size.
    """
    if not len(value):
        return []
    edges = np.unique(np.quantile(value, np.arange(1, parts) / parts))
    group = np.searchsorted(edges, value, side="left")
    return [
        _measure(truth[rows], scores[rows], value[rows], threshold)
        for rows in (np.flatnonzero(group == place) for place in range(len(edges) + 1))
        if len(rows)
    ]


def card_activity(transactions: Transactions) -> npt.NDArray[np.int64]:
    """(N,) transactions of the card in the 30 days before each, itself not counted.

    Args:
        transactions: in order of time, with at least a month before those that are judged.
    """
    cards, _ = transactions.card_codes()
    time = transactions.event_time - transactions.event_time[:1].sum()  # since the oldest
    order = np.argsort(cards, kind="stable")
    # Cards lie further apart on one axis of time than the window is long.
    line = (cards * (int(time.max(initial=0)) + _MONTH_MS + 1) + time)[order]
    count = np.empty(len(line), np.int64)
    oldest = np.searchsorted(line, line - _MONTH_MS, side="right")
    count[order] = np.arange(len(line)) - oldest
    return count


def _measure(
    truth: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.floating],
    value: npt.NDArray[np.floating] | npt.NDArray[np.int64],
    threshold: float,
) -> Slice:
    alerts = scores >= threshold
    hits, raised, frauds = int((alerts & truth).sum()), int(alerts.sum()), int(truth.sum())
    return Slice(
        low=float(value.min()),
        high=float(value.max()),
        count=len(truth),
        frauds=frauds,
        auc=roc_auc(truth, scores),
        ap=average_precision(truth, scores),
        alert_rate=raised / len(truth),
        precision=hits / raised if raised else float("nan"),
        recall=hits / frauds if frauds else float("nan"),
    )

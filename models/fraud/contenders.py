"""Champion and challenger: two networks judged on the same labelled days before one is promoted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.fraud.dataset import DAY_MS, UNLABELLED, build, offline_scores
from models.fraud.evaluation import average_precision, roc_auc
from models.fraud.network import FraudNetwork
from models.fraud.transactions import Transactions


def judge_contenders(
    networks: Mapping[str, FraudNetwork],
    transactions: Transactions,
    labelled_at: npt.NDArray[np.int64],
    days: float,
) -> dict[str, float]:
    """Measure networks on the latest labelled days of a history.

    Each is served the whole history from its beginning, so that its memories are its own and warm.

    Args:
        networks: by name.
        transactions: N in order of time.
        labelled_at: (N,) int64 ms, when each verdict became known; see `models.fraud.dataset`.
        days: how many to judge, up to the newest labelled transaction.

    Returns:
        ``NAME_auc`` and ``NAME_ap`` of each, and ``judged``, the transactions that were.

    Raises:
        DataError: those days have not both frauds and genuine transactions.
    """
    labelled, clock = labelled_at != UNLABELLED, transactions.event_time
    newest = int(clock[labelled].max(initial=0))
    judged = labelled & (clock > newest - int(days * DAY_MS))
    truth = transactions.is_fraud[judged]
    if not truth.any() or truth.all():
        raise DataError(
            f"the latest {days:g} labelled days have not both frauds and genuine transactions, so "
            "networks cannot be compared on them: wait for more labels"
        )
    figures: dict[str, float] = {}
    for name, network in networks.items():
        data = build(transactions, network.config.large_amount, labelled_at)
        scores = offline_scores(network, data)[judged]
        figures[f"{name}_auc"] = roc_auc(truth, scores)
        figures[f"{name}_ap"] = average_precision(truth, scores)
    return {**figures, "judged": float(judged.sum())}

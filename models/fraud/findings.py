"""What a risk manager asks: are scores probabilities, whom do they serve worse, how soon?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.calibration import brier, expected_calibration_error, reliability
from models.fraud.delay import detection_delay
from models.fraud.evaluation import Fold
from models.fraud.slices import card_activity, measure_slices
from models.fraud.transactions import Transactions

ALERTS_PER_DAY = 100
"""A desk's budget: the threshold of a fold is where its test week has so many alerts a day."""

_WEEK, _SLICES, _DELAY_STEPS = 7, 5, (1, 3, 7)


def findings(
    transactions: Transactions, folds: Sequence[Fold], scores: Sequence[npt.NDArray[np.float32]]
) -> dict[str, Any]:
    """Calibration, slices and detection delay over the test weeks of all folds together.

    Args:
        transactions: N in order of time.
        folds: what is judged.
        scores: (N,) of each fold's network, one array a fold.

    Returns:
        ``calibration`` (``score``, ``fraud_share`` and ``count`` of each bin, ``ece``, ``brier``),
        ``budget`` (``precision`` and ``recall`` at `ALERTS_PER_DAY`), ``slices`` by amount and by
        the card's activity, and ``delay``: of the terminals whose first fraud was labelled in a
        test week, the share that had raised an alert ``within`` so many days. The week ends for all
        at once, so a terminal labelled late in it has less time.
    """
    truth = np.concatenate([fold.truth for fold in folds])
    judged = np.concatenate([each[fold.rows] for fold, each in zip(folds, scores, strict=True)])
    rows = np.concatenate([fold.rows for fold in folds])
    limits = [
        float(np.sort(each[fold.rows])[-min(ALERTS_PER_DAY * _WEEK, len(fold.rows))])
        for fold, each in zip(folds, scores, strict=True)
    ]
    # One scale for all folds: how far above its fold's threshold a score is.
    above = judged - np.repeat(limits, [len(fold.rows) for fold in folds])
    alerts = above >= 0
    hits = int((alerts & truth).sum())
    curve = reliability(truth, judged)
    values = {"amount": transactions.amount[rows], "activity": card_activity(transactions)[rows]}
    return {
        "alerts_per_day": ALERTS_PER_DAY,
        "budget": {"precision": hits / int(alerts.sum()), "recall": hits / int(truth.sum())},
        "calibration": {
            "score": curve.score.tolist(),
            "fraud_share": curve.fraud_share.tolist(),
            "count": curve.count.tolist(),
            "ece": expected_calibration_error(truth, judged),
            "brier": brier(truth, judged),
        },
        "slices": {
            name: [asdict(part) for part in measure_slices(truth, above, value, 0.0, _SLICES)]
            for name, value in values.items()
        },
        "delay": _delay(transactions, folds, scores, limits),
    }


def _delay(
    transactions: Transactions,
    folds: Sequence[Fold],
    scores: Sequence[npt.NDArray[np.float32]],
    limits: Sequence[float],
) -> dict[str, Any]:
    """How soon terminals raise an alert, once their first fraud is labelled in a test week."""
    days = []
    for fold, each, limit in zip(folds, scores, limits, strict=True):
        begin, end = transactions.event_time[fold.rows[[0, -1]]].tolist()
        found = detection_delay(transactions, each, limit, begin_ms=begin, end_ms=end + 1)
        days.append(found.days)
    delays = np.concatenate(days)
    alerted = delays[np.isfinite(delays)]
    return {
        "terminals": len(delays),
        "alerted": len(alerted),
        "median_days": float(np.median(alerted)) if len(alerted) else None,
        "within": {
            f"{step}d": float((delays <= step).mean()) if len(delays) else None
            for step in _DELAY_STEPS
        },
    }

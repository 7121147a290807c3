"""The ceiling: how well anyone could do on the Handbook's data whose labels come seven days late.

An oracle that is told the way of each fraud, TX_FRAUD_SCENARIO, which no detector may read: amounts
above the limit (1) and compromised cards (3) it sees at once, a compromised terminal (2) only from
when a first fraud of the same attack is labelled. The rest, 22.8 % of the test weeks' frauds, looks
like any other payment. What scores above it has seen labels that nobody had.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.fraud.evaluation import Fold, mean_and_std, roc_auc, summary
from models.fraud.transactions import Transactions

_DAY_MS = 86_400_000
_ATTACK_MS = 28 * _DAY_MS  # how long the Handbook's simulator keeps a terminal compromised
_TERMINAL = 2
_DRAWS = 20


def oracle_scores(
    transactions: Transactions, label_delay_days: float = 7.0
) -> npt.NDArray[np.float64]:
    """1.0 for the frauds that can be known at their own time, else 0.0; (N,).

    A score of two values: the oracle does not rank what it does not know. See `ceiling`.

    Raises:
        DataError: there are frauds, and no scenario says of which way they are.
    """
    scenario, time = transactions.scenario, transactions.event_time
    if transactions.is_fraud.any() and not scenario.any():
        raise DataError(
            "the oracle needs the simulator's scenario of each fraud (TX_FRAUD_SCENARIO), and the "
            "data has none: run without --oracle"
        )
    # The newest fraud of the terminal whose label is known: keys far apart on one axis of time.
    terminals, _ = transactions.terminal_codes()
    since = time - time[:1].sum()  # the oldest
    delay = round(label_delay_days * _DAY_MS)
    line = terminals * (int(since.max(initial=0)) + delay + _ATTACK_MS + 1) + since
    attacks = np.sort(line[scenario == _TERMINAL])
    until = np.searchsorted(attacks, line - delay, side="right")
    newest = np.concatenate([[np.iinfo(np.int64).min // 2], attacks])[until]
    known = line - newest <= _ATTACK_MS
    return np.where((scenario != 0) & ((scenario != _TERMINAL) | known), 1.0, 0.0)


def ceiling(fold: Fold, oracle: npt.NDArray[np.float64]) -> dict[str, float]:
    """The measures of the oracle in a fold, what it ties being in random order.

    A detector cannot help ranking the frauds that nobody can know, and by chance it finds a few:
    in the Handbook's test folds the mean average precision is 0.774 with ties left as they are, and
    0.779 so. The area under the curve has that mean as it is, for a tie counts half.

    Args:
        fold: of K rows.
        oracle: (N,) from `oracle_scores`.
    """
    rng, known = np.random.default_rng(0), oracle[fold.rows]
    drawn = [fold.metrics(known + 0.5 * rng.random(len(known))) for _ in range(_DRAWS)]
    mean, _ = mean_and_std(drawn)
    return {**mean, "auc": roc_auc(fold.truth, known)}


def ceilings(transactions: Transactions, folds: Sequence[Fold]) -> dict[str, Any]:
    """The ceiling of each fold and their mean, as `evaluation.summary` has them.

    Raises:
        DataError: see `oracle_scores`.
    """
    known = oracle_scores(transactions)
    return summary(folds, [ceiling(fold, known) for fold in folds])

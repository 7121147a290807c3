"""How good the scores are: the Fraud Detection Handbook's prequential protocol, and its measures.

Training starts on a day S and lasts a week; for another week labels are on their way; then comes
the test week. On each of its days the transactions of cards already known to be compromised are
left out. Source: the book, chapter 5, section "Model selection".

Two modes that are never mixed in one table, for they learn from different rows (`training_rows`):
**A** is the book's, one week; **B** is that of a system in service, all that is labelled by then.
In both a state or a window may reach back over the whole history before a transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.fraud.transactions import Transactions

Mode = Literal["A", "B"]
METRICS = ("auc", "ap", "cp100")

TEST_STARTS = ("2018-08-15", "2018-08-08", "2018-08-01", "2018-07-25")
VALIDATION_STARTS = ("2018-07-11", "2018-07-04", "2018-06-27", "2018-06-20")

_DAY_MS = 86_400_000
_WEEK = 7
_WARMUP_DAYS = 30  # mode B: windows and memories of a month are still filling

Bools = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Fold:
    """The K transactions of a fold's test week that are judged, in order of time.

    Attributes:
        start: ISO date of the first training day.
        rows: (K,) int64 places in the history.
        cards: (K,) int64 card numbers, not dense.
        day: (K,) int64 test day, 0 to 6.
        truth: (K,) bool.
    """

    start: str
    rows: npt.NDArray[np.int64]
    cards: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    truth: Bools

    @classmethod
    def of(cls, transactions: Transactions, start: str) -> "Fold":
        """Pick the rows of one fold.

        Raises:
            DataError: `start` is no date, or its test week has no fraud, or nothing but frauds.
        """
        rows = np.flatnonzero(kept_rows(transactions, start))
        day = _days_since(transactions, start)[rows] - 2 * _WEEK
        truth = transactions.is_fraud[rows]
        if not truth.any() or truth.all():
            raise DataError(
                f"the test week of the fold of {start}, from the 15th day after it to the 21st, "
                "has not both frauds and genuine transactions: choose other --train-starts, or "
                "give data that covers them"
            )
        return cls(start, rows, transactions.card_codes()[0][rows], day, truth)

    def metrics(self, scores: Scores) -> dict[str, float]:
        """``auc`` and ``ap`` over the test week and ``cp100``, of (K,) scores of `rows`."""
        return {
            "auc": roc_auc(self.truth, scores),
            "ap": average_precision(self.truth, scores),
            "cp100": card_precision(self.cards, self.day, self.truth, scores),
        }


def training_rows(transactions: Transactions, start: str, mode: Mode) -> Bools:
    """(N,) bool: the rows that a model of the fold learns from.

    Both modes end with the training week, `start` and the six days after it: a week later, when the
    test week begins, all of their labels have arrived. Mode A begins with the week, mode B on the
    31st day of the history.

    Raises:
        DataError: there is no fraud among them.
    """
    day = _days_since(transactions, start)
    rows = day < _WEEK
    if mode == "A":
        rows &= day >= 0
    else:
        rows &= day >= day[:1].sum() + _WARMUP_DAYS  # in order of time: the first is the oldest
    if not (rows & transactions.is_fraud).any():
        raise DataError(
            f"the fold of {start} has no fraud to learn from in mode {mode}: choose a later one of "
            "--train-starts, or give a longer history"
        )
    return rows


def summary(folds: Sequence[Fold], figures: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means by name, ``std`` and ``folds``, of the measures of each fold."""
    mean, std = mean_and_std(figures)
    rows = [
        {"start": fold.start, **{name: figure[name] for name in METRICS}}
        for fold, figure in zip(folds, figures, strict=True)
    ]
    return {**mean, "std": std, "folds": rows}


def mean_and_std(
    figures: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation (of the population, as in the book) of each of `METRICS`."""
    table = {name: [figure[name] for figure in figures] for name in METRICS}
    mean = {name: float(np.mean(values)) for name, values in table.items()}
    return mean, {name: float(np.std(values)) for name, values in table.items()}


def first_day_ms(start: str) -> int:
    """When the first training day begins, ms since the epoch.

    Raises:
        DataError: `start` is no date.
    """
    try:
        return (date.fromisoformat(start) - date(1970, 1, 1)).days * _DAY_MS
    except ValueError:
        raise DataError(f"{start!r} is no first day of a fold: write 2018-08-15") from None


def kept_rows(transactions: Transactions, start: str) -> Bools:
    """(N,) bool: the rows of a fold's test week that are judged.

    With S = `start`, test day d (0 to 6) is day S+14+d. On it a card is left out if it had a fraud
    in the training week S..S+6, or in the days S+6..S+6+d, whose labels have arrived by then.
    """
    day = _days_since(transactions, start)
    cards, number = transactions.card_codes()
    known, kept = np.zeros(number, np.bool_), np.zeros(len(day), np.bool_)
    known[cards[(day >= 0) & (day < _WEEK) & transactions.is_fraud]] = True
    for d in range(_WEEK):
        known[cards[(day == _WEEK - 1 + d) & transactions.is_fraud]] = True
        kept |= (day == 2 * _WEEK + d) & ~known[cards]
    return kept


def fold_metrics(transactions: Transactions, start: str, scores: Scores) -> dict[str, float]:
    """``auc`` and ``ap`` over the test week and ``cp100``, the mean of its days.

    Args:
        transactions: N of them in order of time.
        start: ISO date of the fold's first training day.
        scores: (N,) of the same transactions; only those kept are looked at.
    """
    fold = Fold.of(transactions, start)
    return fold.metrics(scores[fold.rows])


def roc_auc(truth: Bools, scores: Scores) -> float:
    """Chance that a fraud outscores a genuine one, a tie counting half; nan without both."""
    frauds, genuine = _by_score(truth, scores)
    pairs = frauds.sum() * genuine.sum()
    below = np.cumsum(genuine[::-1])[::-1] - genuine
    return float((frauds * (below + genuine / 2)).sum() / pairs) if pairs else float("nan")


def average_precision(truth: Bools, scores: Scores) -> float:
    """Precision, averaged over the frauds by falling score; equal scores enter together."""
    frauds, genuine = _by_score(truth, scores)
    found, total = np.cumsum(frauds), frauds.sum()
    precision = found / np.cumsum(frauds + genuine)
    return float((precision * frauds).sum() / total) if total else float("nan")


def card_precision(
    cards: npt.NDArray[np.int64],
    day: npt.NDArray[np.int64],
    truth: Bools,
    scores: Scores,
    k: int = 100,
) -> float:
    """CP@k: of the k most suspicious cards of each day, the share with a fraud on that day.

    A card's score is the highest of its transactions that day; a card that was caught on an earlier
    day is no longer shown. Mean over the days of the test week.
    """
    number = int(cards.max(initial=-1)) + 1
    caught, precision = np.zeros(number, np.bool_), []
    for d in range(_WEEK):
        today = day == d
        best, fraud = np.full(number, -np.inf), np.zeros(number, np.bool_)
        np.maximum.at(best, cards[today], scores[today])
        fraud[cards[today & truth]] = True
        best[caught] = -np.inf
        shown = np.argsort(-best, kind="stable")[:k]
        hits = shown[fraud[shown] & np.isfinite(best[shown])]
        caught[hits] = True
        precision.append(len(hits) / k)
    return float(np.mean(precision))


def _by_score(
    truth: Bools, scores: Scores
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Number of frauds and of genuine ones at each distinct score, falling."""
    _, group = np.unique(-scores, return_inverse=True)
    frauds = np.bincount(group, weights=truth).astype(np.float64)
    return frauds, np.bincount(group) - frauds


def _days_since(transactions: Transactions, start: str) -> npt.NDArray[np.int64]:
    return transactions.event_time // _DAY_MS - first_day_ms(start) // _DAY_MS

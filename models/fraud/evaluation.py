"""How good the scores are: the Fraud Detection Handbook's prequential protocol, and its measures.

Training starts on a day S and lasts a week; for another week labels are on their way; then comes
the test week. On each of its days the transactions of cards already known to be compromised are
left out. Source: the book, chapter 5, section "Model selection".

Scores are those of a stream that was served from its beginning with labels a week late (state is
warm when the test week starts); the book's own models see one week and are another table.
"""

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from models.fraud.transactions import Transactions

TEST_STARTS = ("2018-08-15", "2018-08-08", "2018-08-01", "2018-07-25")
VALIDATION_STARTS = ("2018-07-11", "2018-07-04", "2018-06-27", "2018-06-20")

_DAY_MS = 86_400_000
_WEEK = 7

Bools = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating]


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
    kept = np.flatnonzero(kept_rows(transactions, start))
    rows, judged = transactions.take(kept), scores[kept]
    day = _days_since(rows, start) - 2 * _WEEK
    return {
        "auc": roc_auc(rows.is_fraud, judged),
        "ap": average_precision(rows.is_fraud, judged),
        "cp100": card_precision(rows.card_codes()[0], day, rows.is_fraud, judged),
    }


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
    first = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp() * 1000)
    return (transactions.event_time - first) // _DAY_MS

"""The Fraud Detection Handbook's 15 inputs, which its baselines learn from.

Counts and means over windows of 1, 7 and 30 days: of the card, the transaction itself included, and
of the terminal, where the window ends 7 days before the transaction, for labels take that long.
Source: the book, chapter 3, section "Baseline feature transformation".
"""

import numpy as np
import numpy.typing as npt

from models.fraud.transactions import Transactions

WINDOWS_DAYS = (1, 7, 30)

BOOK_FEATURES: tuple[str, ...] = (
    "amount",
    "weekend",
    "night",
    *(f"card_{what}_{days}d" for days in WINDOWS_DAYS for what in ("count", "mean_amount")),
    *(f"terminal_{what}_{days}d" for days in WINDOWS_DAYS for what in ("count", "risk")),
)

_DAY_MS = 86_400_000
# Amounts are added up as multiples of 1/65536: sums of integers are exact, so what a window holds
# depends neither on the other cards nor on what comes later.
_GRAIN = 65_536

Ints = npt.NDArray[np.int64]


def book_features(
    transactions: Transactions, label_delay_days: float = 7.0
) -> npt.NDArray[np.float32]:
    """The inputs of every transaction of a history.

    Args:
        transactions: N in order of time, with their verdicts.
        label_delay_days: age at which a transaction, and its verdict, counts for its terminal.

    Returns:
        (N, 15) float32, columns as in `BOOK_FEATURES`, unscaled; the risk of a terminal without
        transactions in its window is 0. Windows of w days are open at their old end: (t-w, t].
    """
    time, amount = transactions.event_time, transactions.amount
    day, in_day = np.divmod(time, _DAY_MS)
    x = np.empty((len(transactions), len(BOOK_FEATURES)), np.float32)
    x[:, 0] = amount
    x[:, 1] = (day + 3) % 7 >= 5  # 1 January 1970 was a Thursday
    x[:, 2] = in_day < 7 * 3_600_000  # hours 0 to 6
    grains = np.rint(amount * _GRAIN).astype(np.int64)
    cards = _Windows(transactions.card_codes()[0], time, grains)
    terminals = _Windows(
        transactions.terminal_codes()[0], time, transactions.is_fraud.astype(np.int64)
    )
    delay_ms = round(label_delay_days * _DAY_MS)
    for place, days in enumerate(WINDOWS_DAYS):
        count, total = cards.within(0, days * _DAY_MS)
        x[:, 3 + 2 * place] = count
        x[:, 4 + 2 * place] = total / (np.maximum(count, 1) * _GRAIN)
        count, frauds = terminals.within(delay_ms, delay_ms + days * _DAY_MS)
        x[:, 9 + 2 * place] = count
        x[:, 10 + 2 * place] = frauds / np.maximum(count, 1)
    return x


class _Windows:
    """Counts and sums over windows of time within each key, by search and prefix sums."""

    def __init__(self, keys: Ints, time: Ints, value: Ints) -> None:
        """All (N,), `time` rising; `keys` dense."""
        self._order = np.argsort(keys, kind="stable")
        since = time - time[:1].sum()  # the oldest
        # Keys lie so far apart on one axis that no window reaches from one into the other.
        self._reach = int(since.max(initial=0)) + 1
        self._keys, self._since = keys[self._order], since[self._order]
        self._before = np.concatenate([[0], np.cumsum(value[self._order])])

    def within(self, newest_ms: int, oldest_ms: int) -> tuple[Ints, Ints]:
        """Count and sum over ``(t - oldest_ms, t - newest_ms]`` of the key, each (N,).

        A window that ends at t ends with the transaction itself: of several at one moment, later
        ones are not seen, as with pandas' rolling windows.
        """
        line = self._keys * (self._reach + oldest_ms) + self._since
        begin = np.searchsorted(line, line - oldest_ms, side="right")
        end = (
            np.searchsorted(line, line - newest_ms, side="right")
            if newest_ms
            else np.arange(1, len(line) + 1)
        )
        count, total = np.empty_like(line), np.empty_like(line)
        count[self._order] = end - begin
        total[self._order] = self._before[end] - self._before[begin]
        return count, total

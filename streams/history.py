"""What Kafka retains as columns: transactions and the verdicts on them, to train from.

Records are decoded a fetch at a time and only columns are kept: 32 bytes a transaction and 17 a
label, and the id of each card and terminal once. As objects they would be ten times as much.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.fraud.transactions import Transactions
from streams.errors import TocsinError
from streams.reading import read_topic
from streams.schemas import (
    DECODE_ERRORS,
    Record,
    TransactionLabel,
    decode_label,
    decode_transaction,
)
from streams.settings import Settings

OnProgress = Callable[[int, int], None]
"""Called with the transactions and the labels read so far."""

NEVER = np.iinfo(np.int64).max
"""`labelled_at` of what has no verdict: later than any time."""

_DAY_MS = 86_400_000
_SILENCE, _WITHDRAWN = -1, -2

_PAYMENT = np.dtype(
    [
        ("tx", "<u8"),
        ("card", "<i4"),
        ("terminal", "<i4"),
        ("amount", "<f8"),
        ("event_time", "<i8"),
    ]
)
_VERDICT = np.dtype([("tx", "<u8"), ("labelled_at", "<i8"), ("verdict", "i1")])


@dataclass(frozen=True, slots=True)
class LabelledHistory:
    """N transactions in order of event time, and what is known of them.

    Attributes:
        transactions: ids of cards and terminals as str objects, `tx_id` a 64-bit hash of the id;
            `is_fraud` is False where nothing is known.
        known: (N,) bool, whether `is_fraud` is a verdict.
        labelled_at: (N,) int64 ms, when the verdict was given; NEVER where there is none.
        orphans: verdicts on transactions that are not retained.
        rejected: records of either topic that the agents would bury too.
    """

    transactions: Transactions
    known: NDArray[np.bool_]
    labelled_at: NDArray[np.int64]
    orphans: int
    rejected: int

    def __len__(self) -> int:
        return len(self.known)


async def read_history(
    settings: Settings,
    *,
    genuine_after_days: float | None = None,
    on_progress: OnProgress = lambda transactions, labels: None,
) -> LabelledHistory:
    """Read both topics from their beginning to their present end.

    The later `labelled_at` wins, on a tie the later offset; a withdrawn verdict is none. With
    `genuine_after_days` a transaction on which no verdict ever came counts as genuine once it is
    that old, and as known from that moment on; None leaves it unknown.

    Raises:
        BrokerError: no broker answers, or a topic does not exist.
        TocsinError: there are no transactions to train from.
    """
    builder = HistoryBuilder(settings)
    async for records in _whole(settings, settings.topics.transactions):
        builder.add_transactions(records)
        on_progress(builder.transactions, builder.labels)
    async for records in _whole(settings, settings.topics.labels):
        builder.add_labels(records)
        on_progress(builder.transactions, builder.labels)
    return builder.build(genuine_after_days)


def _whole(settings: Settings, topic: str) -> AsyncIterator[list[Any]]:
    return read_topic(settings.kafka, topic, from_beginning=True, follow=False)


class HistoryBuilder:
    """Takes records in order of each partition and keeps columns. See `read_history`."""

    def __init__(self, settings: Settings) -> None:
        fraud = settings.fraud
        self._rates = {**fraud.rates, fraud.currency: 1.0}
        self._max_amount, self._earliest = fraud.max_amount, fraud.earliest
        self._horizon_ms = settings.labels.horizon_days * _DAY_MS
        self._names: tuple[dict[str, int], dict[str, int]] = {}, {}  # cards, terminals
        self._payments: list[NDArray[Any]] = []
        self._verdicts: list[NDArray[Any]] = []
        self.transactions = self.labels = self.rejected = 0

    def add_transactions(self, records: Iterable[Record]) -> None:
        """Keep the columns of those that an agent would score."""
        rows: list[tuple[Any, ...]] = []
        cards, terminals = self._names
        for record in records:
            try:
                item = decode_transaction(record.value or b"")
            except DECODE_ERRORS:
                self.rejected += 1
                continue
            amount = item.amount * self._rates.get(item.currency, np.inf)
            if not amount <= self._max_amount or item.event_time < self._earliest:
                self.rejected += 1
                continue
            card = cards.setdefault(item.card_id, len(cards))
            terminal = terminals.setdefault(item.terminal_id, len(terminals))
            rows.append((_hash(item.tx_id), card, terminal, amount, item.event_time))
        self._payments.append(np.array(rows, _PAYMENT))
        self.transactions += len(rows)

    def add_labels(self, records: Iterable[Record]) -> None:
        """Keep the verdicts on transactions that the labels agent would apply."""
        rows: list[tuple[Any, ...]] = []
        for record in records:
            try:
                label = decode_label(record.value or b"")
            except DECODE_ERRORS:
                self.rejected += 1
                continue
            if not isinstance(label, TransactionLabel):
                continue
            if not 0 <= label.labelled_at - label.event_time <= self._horizon_ms:
                self.rejected += 1
                continue
            verdict = _WITHDRAWN if label.is_fraud is None else int(label.is_fraud)
            rows.append((_hash(label.tx_id), label.labelled_at, verdict))
        self._verdicts.append(np.array(rows, _VERDICT))
        self.labels += len(rows)

    def build(self, genuine_after_days: float | None = None) -> LabelledHistory:
        """Join, and sort by event time (stable).

        Raises:
            TocsinError: there are no transactions.
        """
        if not self.transactions:
            raise TocsinError(
                "no transaction is retained to train from: check topics.transactions and its "
                "retention, or give --data"
            )
        # 1. Each transaction once, the first record of it, and the last word on it.
        payments = np.concatenate(self._payments)
        tx, first = np.unique(payments["tx"], return_index=True)
        payments = payments[first]
        last = _last_words(np.concatenate([np.empty(0, _VERDICT), *self._verdicts]))

        # 2. The verdicts; those on transactions that retention has taken find no row.
        place = np.minimum(np.searchsorted(tx, last["tx"]), len(tx) - 1)
        found = tx[place] == last["tx"]
        row, last = place[found], last[found]
        verdict = np.full(len(tx), _SILENCE, np.int8)
        labelled_at = np.full(len(tx), NEVER)
        verdict[row] = last["verdict"]
        labelled_at[row] = np.where(last["verdict"] == _WITHDRAWN, NEVER, last["labelled_at"])

        # 3. What nobody has spoken about for long enough, if that is to count. A withdrawn verdict
        # is no silence: somebody did speak, and nobody knows.
        if genuine_after_days is not None:
            patience = round(genuine_after_days * _DAY_MS)
            time = payments["event_time"]
            silent = (verdict == _SILENCE) & (time <= time.max() - patience)
            verdict[silent], labelled_at[silent] = 0, time[silent] + patience

        # 4. In order of event time; where that is equal, a card's in order of their offsets and
        # cards by name, so that the order in which partitions were read does not show.
        cards, terminals = (np.array(list(names), object) for names in self._names)
        rank = np.argsort(np.argsort(cards))[payments["card"]]
        order = np.lexsort((first, rank, payments["event_time"]))
        payments, verdict = payments[order], verdict[order]
        history = Transactions(
            tx_id=payments["tx"].view(np.int64),
            card_id=cards[payments["card"]],
            terminal_id=terminals[payments["terminal"]],
            amount=payments["amount"],
            event_time=payments["event_time"],
            is_fraud=verdict == 1,
            scenario=np.zeros(len(payments), np.int8),
        )
        orphans = int(len(found) - found.sum())
        return LabelledHistory(history, verdict >= 0, labelled_at[order], orphans, self.rejected)


def _last_words(verdicts: NDArray[Any]) -> NDArray[Any]:
    """Of each transaction the verdict with the latest `labelled_at`, on a tie the last to come.

    All verdicts on a transaction share their terminal's partition, so the order in which they were
    read is the order of their offsets.
    """
    order = np.lexsort((verdicts["labelled_at"], verdicts["tx"]))  # stable
    verdicts = verdicts[order]
    ends = np.flatnonzero(verdicts["tx"][1:] != verdicts["tx"][:-1])
    return verdicts[np.append(ends, len(verdicts) - 1)] if len(verdicts) else verdicts


def _hash(tx_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(tx_id.encode(), digest_size=8).digest(), "little")

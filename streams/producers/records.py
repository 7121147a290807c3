"""Columns of transactions to the records that go to Kafka."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from models.fraud.transactions import Transactions
from streams.producers.sink import Record
from streams.schemas import Transaction, TransactionLabel, encode


@dataclass(frozen=True, slots=True)
class Labelling:
    """How verdicts follow their transactions: `delay_ms` later, from which source.

    A simulator sends under its own name; a file of the past stands for the case systems, where
    a fraud becomes known by a chargeback and a genuine payment by its settlement.
    """

    delay_ms: int
    source: Literal["simulator", "case system"]


def transaction_records(transactions: Transactions, currency: str) -> Iterator[Record]:
    """Encode N transactions, keyed by card, in the order of the columns."""
    for tx_id, card_id, terminal_id, amount, event_time in zip(
        _texts(transactions.tx_id),
        _texts(transactions.card_id),
        _texts(transactions.terminal_id),
        transactions.amount.tolist(),
        transactions.event_time.tolist(),
        strict=True,
    ):
        yield (
            card_id.encode(),
            encode(Transaction(tx_id, card_id, terminal_id, amount, currency, event_time)),
        )


def label_records(transactions: Transactions, labelling: Labelling) -> Iterator[Record]:
    """Encode the verdicts on N transactions, both outcomes, keyed by terminal."""
    simulated = labelling.source == "simulator"
    for tx_id, card_id, terminal_id, amount, event_time, is_fraud in zip(
        _texts(transactions.tx_id),
        _texts(transactions.card_id),
        _texts(transactions.terminal_id),
        transactions.amount.tolist(),
        transactions.event_time.tolist(),
        transactions.is_fraud.tolist(),
        strict=True,
    ):
        label = TransactionLabel(
            tx_id=tx_id,
            card_id=card_id,
            terminal_id=terminal_id,
            amount=amount,
            event_time=event_time,
            labelled_at=event_time + labelling.delay_ms,
            is_fraud=is_fraud,
            source="simulator" if simulated else "chargeback" if is_fraud else "settled",
        )
        yield terminal_id.encode(), encode(label)


def _texts(ids: npt.NDArray[Any]) -> Iterable[str]:
    return map(str, ids.tolist())

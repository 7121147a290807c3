"""First fate of a record: decoded, or a dead letter with the reason. Never an exception."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.pipeline.batch import Batch
from streams.schemas import DECODE_ERRORS, Label, Transaction, TransactionLabel

T = TypeVar("T")

EMPTY = "empty value"
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be processed: its place in the batch, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded(Generic[T]):
    """The good records of a batch with their columns; the rest are rejected.

    `index` is (N,) int64, the place in the batch of each of `items`.
    """

    items: list[T]
    index: NDArray[np.int64]
    rejected: list[Rejected]

    def without(self, bad: NDArray[np.bool_], reason: Callable[[T], str]) -> Decoded[T]:
        """Reject the items where `bad` (N,) holds."""
        if not bad.any():
            return self
        keep = np.flatnonzero(~bad)
        more = [
            Rejected(int(self.index[i]), reason(self.items[i]))
            for i in np.flatnonzero(bad).tolist()
        ]
        items = [self.items[i] for i in keep.tolist()]
        return Decoded(items, self.index[keep], self.rejected + more)


def decode(batch: Batch, decoder: Callable[[bytes], T]) -> Decoded[T]:
    """Decode every value of `batch` with `decoder`, which raises `DECODE_ERRORS`."""
    values = [record.value for record in batch.records]
    try:
        # One call for the whole batch; the slow way only where a record is bad.
        items = list(map(decoder, values))  # type: ignore[arg-type]
    except (*DECODE_ERRORS, TypeError):
        return _decode_each(values, decoder)
    return Decoded(items, np.arange(len(items)), [])


def _decode_each(values: Sequence[bytes | None], decoder: Callable[[bytes], T]) -> Decoded[T]:
    items: list[T] = []
    index: list[int] = []
    rejected: list[Rejected] = []
    for place, value in enumerate(values):
        if not value:
            rejected.append(Rejected(place, EMPTY))
            continue
        try:
            items.append(decoder(value))
            index.append(place)
        except DECODE_ERRORS as error:
            rejected.append(Rejected(place, str(error)))
    return Decoded(items, np.array(index, np.int64), rejected)


@dataclass(frozen=True, slots=True)
class TransactionRules:
    """What a well-formed transaction must still satisfy to be scored."""

    currency: str
    rates: Mapping[str, float]
    max_amount: float
    earliest: int
    max_future_ms: int

    def check(
        self, decoded: Decoded[Transaction], now_ms: int
    ) -> tuple[Decoded[Transaction], NDArray[np.float64], NDArray[np.int64]]:
        """Return the transactions that can be scored, their amounts (N,) and event times (N,).

        Amounts are in `currency`; times in ms since the epoch.
        """
        foreign = {item.currency for item in decoded.items if item.currency != self.currency}
        if unknown := foreign - set(self.rates):
            decoded = decoded.without(
                np.array([item.currency in unknown for item in decoded.items], bool),
                lambda t: f"no rate for currency {t.currency!r}: set fraud.rates",
            )
        if not foreign:  # the rule: to look each rate up would cost a tenth of the batch
            amounts = [item.amount for item in decoded.items]
        else:
            amounts = [item.amount * self._rate(item.currency) for item in decoded.items]
        amount = np.array(amounts, np.float64)
        event_time = np.array([item.event_time for item in decoded.items], np.int64)
        latest = now_ms + self.max_future_ms
        too_much = ~(amount <= self.max_amount)
        early, late = event_time < self.earliest, event_time > latest
        bad = too_much | early | late
        if bad.any():
            decoded = decoded.without(bad, lambda t: self._reason(t, latest))
            amount, event_time = amount[~bad], event_time[~bad]
        return decoded, amount, event_time

    def _rate(self, currency: str) -> float:
        return 1.0 if currency == self.currency else self.rates[currency]

    def _reason(self, item: Transaction, latest: int) -> str:
        if item.event_time < self.earliest:
            return f"event_time {item.event_time} is before the earliest allowed, {self.earliest}"
        if item.event_time > latest:
            return f"event_time {item.event_time} lies in the future, beyond {latest}"
        return f"amount {item.amount} {item.currency} is above the limit of {self.max_amount}"


@dataclass(frozen=True, slots=True)
class LabelRules:
    """What a well-formed label must still satisfy to be applied."""

    horizon_days: int
    max_future_ms: int

    def check(self, decoded: Decoded[Label], now_ms: int) -> Decoded[TransactionLabel]:
        """Return the labels on transactions; labels on objects have no terminal and pass by.

        Labels from the future, from before their transaction or after the horizon are rejected.
        """
        kept = [i for i, item in enumerate(decoded.items) if isinstance(item, TransactionLabel)]
        labels = [item for item in decoded.items if isinstance(item, TransactionLabel)]
        ours = Decoded(labels, decoded.index[kept], decoded.rejected)
        event_time = np.array([label.event_time for label in labels], np.int64)
        labelled_at = np.array([label.labelled_at for label in labels], np.int64)
        bad = (
            (labelled_at - event_time > self.horizon_days * DAY_MS)
            | (labelled_at < event_time)
            | (labelled_at > now_ms + self.max_future_ms)
        )
        return ours.without(bad, self._reason)

    def _reason(self, label: TransactionLabel) -> str:
        age_ms = label.labelled_at - label.event_time
        if age_ms < 0:
            return f"labelled_at {label.labelled_at} is before event_time {label.event_time}"
        if age_ms > self.horizon_days * DAY_MS:
            return f"the label is {age_ms // DAY_MS} days old, the horizon is {self.horizon_days}"
        return f"labelled_at {label.labelled_at} lies in the future"

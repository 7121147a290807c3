"""Records and batches as the consumer hands them on, and the JSON in them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from streams.pipeline.batch import Batch

SENT_AT = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class FakeRecord:
    """One record; see `streams.pipeline.batch.Record`."""

    offset: int
    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp: int = SENT_AT


def batch_of(
    values: Sequence[bytes | None],
    *,
    partition: int = 0,
    first: int = 0,
    sequence: int = 1,
    quiet_below: dict[int, int] | None = None,
) -> Batch:
    """A batch of one partition whose records stand at `first` and on."""
    records: list[Any] = [FakeRecord(first + i, value) for i, value in enumerate(values)]
    partitions = np.full(len(records), partition, np.int32)
    return Batch(records, partitions, sequence, quiet_below or {})


class FakeTP(NamedTuple):
    """A topic and a partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class FakePartitionBatch:
    """What the transport delivers: records of one partition."""

    tp: FakeTP
    records: list[FakeRecord]

    @property
    def topic(self) -> str:
        return self.tp.topic

    @property
    def first_offset(self) -> int:
        return self.records[0].offset

    @property
    def last_offset(self) -> int:
        return self.records[-1].offset

    @property
    def size(self) -> int:
        return sum(len(record.value or b"") for record in self.records)

    @property
    def next_offset(self) -> int:
        return self.last_offset + 1

    @property
    def offset(self) -> int:
        return self.last_offset


@dataclass(eq=False, slots=True)
class FakeEvent:
    """A Faust event with a partition batch in it."""

    value: FakePartitionBatch
    acknowledged: bool = field(default=False)


def event_of(
    values: Sequence[bytes], *, partition: int = 0, first: int = 0, key: bytes | None = b"card"
) -> FakeEvent:
    """An event whose records stand at `first` and on."""
    records = [FakeRecord(first + i, value, key) for i, value in enumerate(values)]
    return FakeEvent(FakePartitionBatch(FakeTP("transactions", partition), records))


def now_ms() -> int:
    return round(time.time() * 1000)


def payment(**changes: Any) -> bytes:
    """A transaction of a minute ago."""
    body = {
        "tx_id": "t1",
        "card_id": "c1",
        "terminal_id": "m1",
        "amount": 12.5,
        "currency": "EUR",
        "event_time": now_ms() - 60_000,
    }
    return json.dumps({**body, **changes}).encode()


def verdict(**changes: Any) -> bytes:
    """A label of now on a transaction of a minute ago."""
    body = {
        "kind": "transaction",
        "tx_id": "t1",
        "card_id": "c1",
        "terminal_id": "m1",
        "amount": 12.5,
        "event_time": now_ms() - 60_000,
        "labelled_at": now_ms(),
        "is_fraud": True,
        "source": "analyst",
    }
    return json.dumps({**body, **changes}).encode()

"""The mark of a topic that is delivered in batches, and what an agent on it receives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import faust
from faust.types import TP

from streams.schemas import Record
from streams.transport.offsets import BatchOffset

DEFAULT_MAX_RECORDS = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """Consecutive records of one partition, never empty: the value of a batch topic's event.

    Offsets rise but need not be dense: compaction and transactions leave gaps.
    """

    tp: TP
    records: list[Record]
    offset: BatchOffset
    size: int
    """Bytes of all values."""

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @property
    def topic(self) -> str:
        """Topic of every record."""
        return str(self.tp.topic)

    @property
    def partition(self) -> int:
        """Partition of every record."""
        return int(self.tp.partition)

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""
        return self.offset.first

    @property
    def next_offset(self) -> int:
        """Offset that reading goes on from: past transaction markers and compacted records."""
        return self.offset.next_offset

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        return int(self.offset)


class BatchSchema(faust.Schema):  # type: ignore[misc]  # Faust is Any to mypy
    """Delivers a topic in batches of at most `max_records` records, undecoded.

    Agents on such a topic take ``stream.noack()`` and acknowledge each event themselves.
    """

    def __init__(self, *, max_records: int = DEFAULT_MAX_RECORDS) -> None:
        if max_records < 1:
            raise ValueError(f"max_records must be at least 1, got {max_records}")
        super().__init__(key_serializer="raw", value_serializer="raw")
        self.max_records = max_records

    def compile(self, app: Any, **_options: Any) -> Callable[..., Awaitable[Any]]:
        """Build Faust's decoder of messages: the batch itself is the event's value."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, None, message)

        return decode

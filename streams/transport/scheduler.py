"""Cuts fetched records into batches and enters them in the ledger, before Faust sees any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faust.transport.consumer import ensure_TP
from faust.types import TP

from streams.transport.fetch import FetchedRecords
from streams.transport.offsets import BatchLedger, BatchOffset
from streams.transport.schema import RecordBatch


class BatchScheduler:
    """Faust's scheduler with whole batches in place of the records of batch topics.

    Faust's own round-robin between topics and partitions stays: by batch instead of by record.
    """

    def __init__(self, inner: Any, *, ledger: BatchLedger, max_records: Mapping[str, int]) -> None:
        self._inner = inner
        self._ledger = ledger
        self._max_records = max_records

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """Return what one fetch brought, in the order of delivery.

        Batches are entered in the ledger here and now, not as the iterator advances: Faust may
        abandon the iterator, and what it then drops must hold the commit back.
        """
        sliced = {
            tp: self._enter(ensure_TP(tp), fetched)
            if isinstance(fetched, FetchedRecords)
            else fetched
            for tp, fetched in records.items()
        }
        return self._fresh(self._inner.iterate(sliced))

    def _enter(self, tp: TP, fetched: FetchedRecords) -> list[RecordBatch]:
        most = self._max_records[tp.topic]
        batches = []
        for start in range(0, len(fetched), most):
            records = fetched[start : start + most]
            last = start + most >= len(fetched)
            offset = BatchOffset(
                records[-1].offset,
                first=records[0].offset,
                next_offset=fetched.next_offset if last else records[-1].offset + 1,
                move=fetched.move,
            )
            self._ledger.enter(tp, offset)
            values = [record.value for record in records]
            size = sum(map(len, filter(None, values)))
            batches.append(RecordBatch(tp, records, offset, size))
        if not fetched:
            self._ledger.enter_empty(tp, fetched.next_offset, fetched.move)
        return batches

    def _fresh(self, items: Iterator[tuple[TP, Any]]) -> Iterator[tuple[TP, Any]]:
        # A seek may have come while the fetch was on its way here, or since the last batch of it.
        for tp, item in items:
            if isinstance(item, RecordBatch) and self._ledger.is_stale(item.tp, item.offset.move):
                continue
            yield tp, item

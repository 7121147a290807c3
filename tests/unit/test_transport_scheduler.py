"""Cutting fetched records into batches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

from streams.transport.fetch import FetchedRecords
from streams.transport.offsets import BatchLedger
from streams.transport.scheduler import BatchScheduler
from streams.transport.schema import RecordBatch

LEFT, RIGHT, PLAIN = TP("transactions", 0), TP("transactions", 1), TP("audit", 0)


def fetched(*offsets: int, next_offset: int | None = None, move: int = 0) -> FetchedRecords:
    return FetchedRecords(
        [SimpleNamespace(offset=offset, value=b"four") for offset in offsets],  # type: ignore[misc]
        start=offsets[0] if offsets else 0,
        next_offset=offsets[-1] + 1 if next_offset is None else next_offset,
        move=move,
    )


def scheduler(ledger: BatchLedger, *, max_records: int = 2) -> BatchScheduler:
    return BatchScheduler(
        DefaultSchedulingStrategy(), ledger=ledger, max_records={"transactions": max_records}
    )


def spans(items: Any) -> list[tuple[int, int, int]]:
    return [(tp.partition, item.first_offset, item.last_offset) for tp, item in items]


def test_an_empty_fetch_yields_nothing() -> None:
    assert list(scheduler(BatchLedger()).iterate({})) == []


def test_a_fetch_without_records_moves_the_commit_all_the_same() -> None:
    ledger = BatchLedger()
    assert list(scheduler(ledger).iterate({LEFT: fetched(next_offset=7)})) == []
    assert ledger.commit_offset(LEFT) == 7


def test_records_are_cut_into_batches_that_take_turns_by_partition() -> None:
    right = fetched(3, 4, 6, 7, 8, 9)  # of three batches, each smaller than its bytes
    items = scheduler(BatchLedger()).iterate({LEFT: fetched(0, 1, 5), RIGHT: right})
    assert spans(items) == [(0, 0, 1), (1, 3, 4), (0, 5, 5), (1, 6, 7), (1, 8, 9)]


def test_a_batch_ends_where_the_next_one_starts() -> None:
    items = [item for _, item in scheduler(BatchLedger()).iterate({LEFT: fetched(0, 3, 5)})]
    assert [item.offset.next_offset for item in items] == [4, 6]
    assert [item.size for item in items] == [8, 4]
    (last,) = [
        item for _, item in scheduler(BatchLedger()).iterate({LEFT: fetched(9, next_offset=30)})
    ]
    assert last.offset.next_offset == 30


def test_a_batch_knows_its_records_and_its_place() -> None:
    ((tp, batch),) = scheduler(BatchLedger()).iterate({LEFT: fetched(4, 8)})
    assert isinstance(batch, RecordBatch)
    assert (tp, batch.topic, batch.partition) == (LEFT, "transactions", 0)
    assert (len(batch), [record.offset for record in batch]) == (2, [4, 8])
    assert (batch.first_offset, batch.last_offset) == (4, 8)


def test_ordinary_topics_stay_record_by_record() -> None:
    assert list(scheduler(BatchLedger()).iterate({PLAIN: ["a", "b"]})) == [
        (PLAIN, "a"),
        (PLAIN, "b"),
    ]


def test_batches_that_faust_drops_hold_the_commit_back() -> None:
    ledger = BatchLedger()
    items = scheduler(ledger).iterate({LEFT: fetched(0, 1, 2, 3)})
    _, first = next(items)
    del items  # a rebalance: the second batch is never delivered
    ((_, later),) = scheduler(ledger).iterate({LEFT: fetched(4, 5)})
    first.offset.done = later.offset.done = True
    assert ledger.commit_offset(LEFT) == 2
    assert ledger.commit_offset(LEFT) is None


def test_what_was_fetched_before_a_seek_is_not_delivered() -> None:
    ledger = BatchLedger()
    ledger.moved(LEFT)
    assert list(scheduler(ledger).iterate({LEFT: fetched(0, 1, move=0)})) == []
    assert ledger.commit_offset(LEFT) is None


def test_a_seek_in_the_middle_of_a_fetch_ends_it() -> None:
    ledger = BatchLedger()
    items = scheduler(ledger).iterate({LEFT: fetched(0, 1, 2, 3), RIGHT: fetched(0, 1, 2, 3)})
    assert spans([next(items)]) == [(0, 0, 1)]
    ledger.moved(LEFT)
    assert spans(items) == [(1, 0, 1), (1, 2, 3)]

"""What we take out of aiokafka is what aiokafka itself would have returned, record for record."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import OrderedDict
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from aiokafka.consumer.fetcher import (
    READ_COMMITTED,
    READ_UNCOMMITTED,
    FetchError,
    FetchResult,
    PartitionRecords,
)
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import CorruptRecordException, TopicAuthorizationFailedError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from streams.transport.fetch import FetchedRecords, fetch, take

PARTITION, OTHER = TopicPartition("transactions", 0), TopicPartition("transactions", 1)
PLAIN = TopicPartition("audit", 0)


def stored(
    base: int,
    count: int,
    *,
    compression: int = 0,
    keep: tuple[int, ...] | None = None,
    control: bool = False,
) -> bytes:
    """Encode one batch as a broker stores it; `keep` are the deltas that compaction has left."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=control,
        producer_id=7 if control else -1,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 20,
    )
    for delta in range(count) if keep is None else keep:
        key = None if delta % 3 == 0 else b"card-%d" % delta
        value = b"value-%d" % (base + delta)
        if control:
            key = b"\0\0\0\1"  # version 0, type 1: the transaction was committed
        builder.append(
            delta, 1_700_000_000_000 + delta, key, value, [("kind", b"x"), ("empty", None)]
        )
    data = builder.build()
    data[0:8] = base.to_bytes(8, "big")  # not covered by the checksum
    if control or keep is not None:
        if control:
            data[21:23] = (int.from_bytes(data[21:23], "big") | 0x20).to_bytes(2, "big")
        data[23:27] = (count - 1).to_bytes(4, "big")  # lastOffsetDelta survives compaction
        data[17:21] = checksum(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


def checksum(data: bytes) -> int:
    crc = 0xFFFFFFFF  # CRC-32C, RFC 3720
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def response(
    *batches: bytes,
    position: int = 0,
    isolation: int = READ_UNCOMMITTED,
    tp: TopicPartition = PARTITION,
    aborted: tuple[tuple[int, int], ...] = (),
) -> FetchResult:
    """Build what aiokafka buffers for one partition."""
    assignment = Assignment([tp])
    assignment.state_value(tp).seek(position)
    records = PartitionRecords(
        tp, MemoryRecords(b"".join(batches)), list(aborted), position, None, None, True, isolation
    )
    return FetchResult(tp, assignment=assignment, partition_records=records, backoff=0.0)


def position(result: FetchResult) -> int:
    place: int = result._assignment.state_value(result._topic_partition).position
    return place


def plain(records: Any) -> list[tuple[Any, ...]]:
    return [(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in records]


async def both(*batches: bytes, **options: Any) -> tuple[FetchResult, FetchedRecords, FetchResult]:
    """Read the same response twice: as aiokafka does, and as we do."""
    theirs, ours = response(*batches, **options), response(*batches, **options)
    expected = theirs.getall()
    taken = take(ours, move=3)
    assert taken is not None
    assert plain(taken) == plain(expected)
    assert position(ours) == position(theirs) == taken.next_offset
    assert not ours.has_more()
    return theirs, taken, ours


def test_an_empty_response_is_an_empty_list() -> None:
    async def scenario() -> None:
        _, taken, _ = await both()
        assert (list(taken), taken.start, taken.next_offset, taken.move) == ([], 0, 0, 3)

    asyncio.run(scenario())


@pytest.mark.parametrize("compression", range(5), ids=["plain", "gzip", "snappy", "lz4", "zstd"])
def test_records_are_the_same_as_aiokafkas(compression: int) -> None:
    async def scenario() -> None:
        batches = [stored(0, 5, compression=compression), stored(5, 3, compression=compression)]
        _, taken, _ = await both(*batches)
        assert [record.offset for record in taken] == list(range(8))

    asyncio.run(scenario())


def test_a_start_within_a_stored_batch_skips_what_lies_before() -> None:
    async def scenario() -> None:
        _, taken, _ = await both(stored(10, 6), position=13)
        assert [record.offset for record in taken] == [13, 14, 15]
        assert (taken.start, taken.next_offset) == (13, 16)

    asyncio.run(scenario())


def test_the_position_passes_records_that_compaction_removed() -> None:
    async def scenario() -> None:
        _, taken, _ = await both(stored(0, 9, keep=(1, 4)), stored(9, 4, keep=()))
        assert [record.offset for record in taken] == [1, 4]
        assert taken.next_offset == 13

    asyncio.run(scenario())


def test_transaction_markers_are_no_records() -> None:
    async def scenario() -> None:
        _, taken, _ = await both(stored(0, 2), stored(2, 1, control=True))
        assert [record.offset for record in taken] == [0, 1]
        assert taken.next_offset == 3

    asyncio.run(scenario())


def test_read_committed_is_left_to_aiokafka() -> None:
    async def scenario() -> None:
        _, taken, _ = await both(stored(0, 3), stored(3, 1, control=True), isolation=READ_COMMITTED)
        assert [record.offset for record in taken] == [0, 1, 2]
        assert taken.next_offset == 4

    asyncio.run(scenario())


@pytest.mark.parametrize("isolation", [READ_COMMITTED, READ_UNCOMMITTED])
def test_what_unpacks_to_more_is_taken_in_parts_that_make_the_whole(isolation: int) -> None:
    async def scenario() -> None:
        batches = [
            *(stored(base, 60, compression=3) for base in range(0, 240, 60)),
            stored(240, 1, control=True),
        ]
        whole = response(*batches, isolation=isolation).getall()
        ours, parts = response(*batches, isolation=isolation), []
        while ours.has_more():
            taken = take(ours, move=0, most_bytes=1)
            assert taken is not None
            assert taken.start == (parts[-1].next_offset if parts else 0)
            assert position(ours) == taken.next_offset
            parts.append(taken)
        assert len(parts) > 2
        assert plain(record for part in parts for record in part) == plain(whole)
        assert position(ours) == 241
        assert ours._partition_records is None

    asyncio.run(scenario())


def test_what_is_not_compressed_is_bounded_by_the_fetch_alone() -> None:
    async def scenario() -> None:
        taken = take(response(stored(0, 60), stored(60, 60)), move=0, most_bytes=1)
        assert taken is not None
        assert len(taken) == 120

    asyncio.run(scenario())


def test_a_damaged_batch_raises_and_leaves_the_position() -> None:
    async def scenario() -> None:
        damaged = bytearray(stored(0, 5))
        damaged[-2] ^= 0xFF
        result = response(bytes(damaged))
        with pytest.raises(CorruptRecordException):
            take(result, move=0)
        assert position(result) == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("sought", [0, 1], ids=["taken", "not taken"])
def test_a_response_is_freed_without_the_garbage_collector(sought: int) -> None:
    async def scenario() -> None:
        result = response(stored(0, 3))
        result._assignment.state_value(PARTITION).seek(sought)
        held = weakref.ref(result._partition_records)
        gc.disable()
        try:
            assert (take(result, move=0) is None) == bool(sought)
            assert held() is None
        finally:
            gc.enable()

    asyncio.run(scenario())


def test_a_response_from_before_a_seek_is_not_taken() -> None:
    async def scenario() -> None:
        result = response(stored(0, 5))
        result._assignment.state_value(PARTITION).seek(100)
        assert take(result, move=0) is None
        assert position(result) == 100

    asyncio.run(scenario())


def test_a_response_of_a_revoked_partition_is_not_taken() -> None:
    async def scenario() -> None:
        result = response(stored(0, 5))
        result._assignment._unassign()
        assert take(result, move=0) is None

    asyncio.run(scenario())


class FakeFetcher:
    """The part of aiokafka's Fetcher that `fetch` touches, fed by hand."""

    def __init__(self) -> None:
        self._records: OrderedDict[TopicPartition, Any] = OrderedDict()
        self._subscriptions = self
        self.reassignment_in_progress = False
        self._closed = False
        self._wait_consume_future = None
        self.refills = 0
        self.waiters: list[asyncio.Future[None]] = []
        self.ordinary: list[Any] = []

    def fetch_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    async def wait_for_assignment(self) -> None:
        self.reassignment_in_progress = False
        self._records.clear()  # they belonged to the old assignment

    def _notify(self, future: Any) -> None:
        self.refills += 1

    def _create_fetch_waiter(self) -> asyncio.Future[None]:
        self.waiters.append(asyncio.get_running_loop().create_future())
        return self.waiters[-1]

    async def fetched_records(
        self,
        partitions: Any,
        timeout: float,  # noqa: ASYNC109 - aiokafka's name
        max_records: int | None,
    ) -> dict[TopicPartition, Any]:
        assert partitions
        assert timeout == 0
        return {PLAIN: self.ordinary.pop()} if self.ordinary else {}


async def fetched(
    fetcher: FakeFetcher,
    *,
    batched: Any = (PARTITION, OTHER),
    ordinary: Any = (),
    timeout_s: float = 0.0,
) -> dict[Any, Any]:
    return await fetch(
        fetcher,
        lambda: (batched, ordinary),
        moves=lambda tp: 0,
        timeout_s=timeout_s,
        max_records=None,
    )


def test_without_records_a_fetch_returns_empty_when_its_time_is_over() -> None:
    assert asyncio.run(fetched(FakeFetcher(), timeout_s=0.02)) == {}


def test_every_batch_partition_is_taken_and_refilled() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        for tp in (PARTITION, OTHER):
            fetcher._records[tp] = response(stored(0, 2), tp=tp)
        taken = await fetched(fetcher)
        assert {tp: len(records) for tp, records in taken.items()} == {PARTITION: 2, OTHER: 2}
        assert fetcher.refills == 2
        assert not fetcher._records

    asyncio.run(scenario())


def test_what_was_left_of_a_response_is_taken_before_more_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(take, "__kwdefaults__", {"most_bytes": 1})

    async def scenario() -> None:
        fetcher = FakeFetcher()
        fetcher._records[PARTITION] = response(*(stored(at, 9, compression=3) for at in (0, 9)))
        assert [record.offset for record in (await fetched(fetcher))[PARTITION]] == [*range(9)]
        assert (fetcher.refills, set(fetcher._records)) == (0, {PARTITION})
        assert [record.offset for record in (await fetched(fetcher))[PARTITION]] == [*range(9, 18)]
        assert (fetcher.refills, set(fetcher._records)) == (1, set())

    asyncio.run(scenario())


def test_a_fetch_wakes_up_when_a_response_comes() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        waiting = asyncio.ensure_future(fetched(fetcher, timeout_s=5.0))
        await asyncio.sleep(0.01)
        fetcher._records[PARTITION] = response(stored(0, 2))
        fetcher.waiters[0].set_result(None)
        assert len((await waiting)[PARTITION]) == 2

    asyncio.run(scenario())


def test_nothing_is_taken_while_the_group_reassigns() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        fetcher._records[PARTITION] = response(stored(0, 2))
        fetcher.reassignment_in_progress = True
        assert await fetched(fetcher) == {}

    asyncio.run(scenario())


def test_a_partition_under_backpressure_stays_in_the_buffer() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        for tp in (PARTITION, OTHER):
            fetcher._records[tp] = response(stored(0, 2), tp=tp)
        assert set(await fetched(fetcher, batched=(OTHER,))) == {OTHER}
        assert set(fetcher._records) == {PARTITION}

    asyncio.run(scenario())


def test_ordinary_partitions_come_along_as_aiokafka_returns_them() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        fetcher._records[PARTITION] = response(stored(0, 2))
        fetcher.ordinary = [["a"]]
        taken = await fetched(fetcher, ordinary=(PLAIN,))
        assert set(taken) == {PARTITION, PLAIN}
        assert taken[PLAIN] == ["a"]

    asyncio.run(scenario())


def test_an_error_waits_until_there_is_nothing_else_to_return() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        error = TopicAuthorizationFailedError("transactions")
        fetcher._records[PARTITION] = FetchError(error=error, backoff=0.0)
        fetcher._records[OTHER] = response(stored(0, 2), tp=OTHER)
        with pytest.raises(TopicAuthorizationFailedError):
            await fetched(fetcher)
        # The error came first this time: the records are still there for the next call.
        assert set(await fetched(fetcher)) == {OTHER}

    asyncio.run(scenario())


def test_records_come_before_an_error_behind_them() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        fetcher._records[PARTITION] = response(stored(0, 2))
        error = TopicAuthorizationFailedError("transactions")
        fetcher._records[OTHER] = FetchError(error=error, backoff=0.0)
        assert set(await fetched(fetcher)) == {PARTITION}
        with pytest.raises(TopicAuthorizationFailedError):
            await fetched(fetcher)

    asyncio.run(scenario())


def test_a_group_that_refuses_us_raises_out_of_the_wait() -> None:
    async def scenario() -> None:
        fetcher = FakeFetcher()
        waiting = asyncio.ensure_future(fetched(fetcher, timeout_s=5.0))
        await asyncio.sleep(0.01)
        fetcher.waiters[0].set_exception(TopicAuthorizationFailedError("transactions"))
        with pytest.raises(TopicAuthorizationFailedError):
            await waiting

    asyncio.run(scenario())

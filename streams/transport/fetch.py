"""Takes fetched records out of aiokafka as its compiled parser made them.

aiokafka wraps every record in a ConsumerRecord, one generator step each; for small records that is
a third of the cost of the whole path. The compiled record underneath has the same offset,
timestamp, key, value and headers, so a batch is handed on as one list of those.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import CorruptRecordException
from faust.types import TP

from streams.schemas import Record

MOST_BYTES = 8 * 2**20
"""Of values that come out of compressed records at once: what has been fetched may unpack to a
hundred times its size."""

_AT_ONCE = 100


class FetchedRecords(list[Record]):
    """What was taken of a response for one partition; empty if it held transaction markers only.

    `start` is the position that was fetched from, `next_offset` the one that follows, `move` the
    count of the partition's seeks at that time.
    """

    __slots__ = ("move", "next_offset", "start")

    def __init__(self, records: list[Record], *, start: int, next_offset: int, move: int) -> None:
        super().__init__(records)
        self.start = start
        self.next_offset = next_offset
        self.move = move


async def fetch(
    fetcher: Any,
    partitions: Callable[[], tuple[Collection[TP], Collection[TP]]],
    *,
    moves: Callable[[TP], int],
    timeout_s: float,
    max_records: int | None,
) -> dict[TP, Any]:
    """Wait until aiokafka has records and take them; empty after `timeout_s` without any.

    `aiokafka.consumer.fetcher.Fetcher.fetched_records` with raw records for the batch partitions.
    Runs in the consumer thread. What it takes counts as consumed: the position moves on in the same
    step, so the caller must deliver it or seek.

    `partitions` gives the wanted ones, batch partitions first, ordinary ones second. It is asked
    again at each turn because backpressure may have removed one in the meantime. `max_records`
    bounds ordinary partitions only; batches are bounded by the size of a fetch, and by `MOST_BYTES`
    where they are compressed.

    Raises:
        KafkaError: what the broker answered for a partition, if there was nothing else to return.
    """
    deadline = monotonic() + timeout_s
    while True:
        # 1. While the group reassigns, buffered records may belong to another member.
        if fetcher._subscriptions.reassignment_in_progress:
            await fetcher._subscriptions.wait_for_assignment()
        batched, ordinary = partitions()
        # 2. Ordinary first: it may raise, and must not take taken batches with it. aiokafka reads
        #    an empty collection as "all partitions".
        records: dict[TP, Any] = {}
        if ordinary:
            records = await fetcher.fetched_records(ordinary, timeout=0, max_records=max_records)
        # 3. Batches.
        records = {**records, **_take_batches(fetcher, batched, moves=moves, raises=not records)}
        left = deadline - monotonic()
        if records or left <= 0 or fetcher._closed:
            return records
        # 4. Sleep until a response comes. The result raises if the group refused us.
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=left)
        if not done:
            waiter.cancel()
            return {}
        waiter.result()


def _take_batches(
    fetcher: Any, wanted: Collection[TP], *, moves: Callable[[TP], int], raises: bool
) -> dict[TP, FetchedRecords]:
    taken: dict[TP, FetchedRecords] = {}
    for tp in [tp for tp in fetcher._records if tp in wanted]:
        result = fetcher._records[tp]
        if not isinstance(result, FetchResult) and (taken or not raises):
            continue  # an error waits until there is nothing else to return
        is_left = False
        try:
            if not isinstance(result, FetchResult):
                result.check_raise()
            elif (records := take(result, move=moves(tp))) is not None:
                taken[tp] = records
                is_left = result.has_more()
        finally:
            if not is_left:
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)  # fetch on
    return taken


def take(result: Any, *, move: int, most_bytes: int = MOST_BYTES) -> FetchedRecords | None:
    """Take the records of one response and move the position past them.

    Whoever leaves some, because they unpack to more than `most_bytes`, finds `result.has_more()`
    and takes again. None if the response is stale: its partition was paused, revoked or moved.

    Raises:
        CorruptRecordException: a checksum differs; the position has not moved.
    """
    if not result.has_more():
        return None
    partition = result._partition_records
    try:
        if not result.check_assignment(result._topic_partition):
            return None
        start = partition.next_fetch_offset
        if partition._isolation_level == READ_COMMITTED:
            # aiokafka filters aborted transactions as it unpacks: leave that to it.
            records, left = [], most_bytes
            while result.has_more() and left > 0:
                some = result.getall(_AT_ONCE)
                left -= _size(some)
                records += some
        else:
            records = _unpack(partition, most_bytes)
            result._update_position()
            if not partition._records.has_next():
                result._partition_records = None
    except BaseException:
        result._partition_records = None
        raise
    finally:
        if not result.has_more():
            # An iterator that was not used up and its response hold each other, megabytes that
            # would wait for a collection of old garbage.
            partition._records_iterator = None
    position = result._assignment.state_value(result._topic_partition).position
    return FetchedRecords(records, start=start, next_offset=position, move=move)


def _unpack(partition: Any, most_bytes: int) -> list[Record]:
    records: list[Record] = []
    position, left = partition.next_fetch_offset, most_bytes
    while left > 0 and partition._records.has_next():
        batch = partition._records.next_batch()
        if partition._check_crcs and not batch.validate_crc():
            raise CorruptRecordException(f"Invalid CRC - {partition._tp}")
        if not batch.is_control_batch:
            unpacked = list(batch)
            if unpacked and unpacked[0].offset < position:
                # A seek into the middle of a stored batch brings the whole of it.
                unpacked = [record for record in unpacked if record.offset >= position]
            if batch.compression_type:
                left -= _size(unpacked)
            records += unpacked
        position = batch.next_offset
    partition.next_fetch_offset = position
    return records


def _size(records: list[Any]) -> int:
    return sum(len(record.value) for record in records if record.value is not None)

"""Read a topic from the side: no consumer group, nothing committed, nobody disturbed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.admin import log_ends
from streams.connection import async_broker_errors, consumer_options
from streams.errors import BrokerError, TocsinError
from streams.settings import KafkaSettings

_WAIT_MS = 500

# Closing waits for the fetch that is under way: with Kafka's 500 ms every command took that much
# longer for each topic that it reads.
_FETCH_MS = 100
_ONE_S = 15.0
"""For one record, which a broker that is up sends within milliseconds."""


async def read_topic(
    kafka: KafkaSettings,
    topic: str,
    *,
    from_beginning: bool,
    follow: bool,
    since_ms: int | None = None,
    newest: int | None = None,
) -> AsyncGenerator[list[Any], None]:
    """Yield the records of `topic` as lists of aiokafka's records, in order of each partition.

    From the log start or from what arrives next; without `follow` it ends at the log end that
    it finds when it starts, with it never. `since_ms` leaves out what was sent before (ms, epoch),
    `newest` all but so many offsets before the end of each partition.

    Raises:
        BrokerError: no broker answers, it refuses us, or the topic does not exist.
    """
    ends = {
        TopicPartition(topic, partition): end
        for partition, end in (await log_ends(kafka, topic)).items()
    }
    if not follow and not any(ends.values()):
        return
    async with async_broker_errors(kafka):
        consumer = AIOKafkaConsumer(
            **consumer_options(kafka),
            group_id=None,
            auto_offset_reset="earliest",  # where retention has overtaken it
            fetch_max_wait_ms=_FETCH_MS,
            max_partition_fetch_bytes=kafka.max_partition_fetch_bytes,
        )
        try:
            await consumer.start()
            consumer.assign(list(ends))
            starts = await consumer.beginning_offsets(list(ends)) if from_beginning else ends
            if since_ms is not None:
                starts = await _since(consumer, starts, ends, since_ms)
            if newest is not None:
                starts = {one: max(start, ends[one] - newest) for one, start in starts.items()}
            for partition, start in starts.items():
                consumer.seek(partition, start)
            left = {partition for partition in ends if starts[partition] < ends[partition]}
            while follow or left:
                fetched = await consumer.getmany(timeout_ms=_WAIT_MS)
                for records in fetched.values():
                    yield records
                # By position: behind the last record may lie transaction markers, or a gap.
                left = {one for one in left if await consumer.position(one) < ends[one]}
        finally:
            await consumer.stop()


async def _since(
    consumer: Any,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    since_ms: int,
) -> dict[TopicPartition, int]:
    found = await consumer.offsets_for_times(dict.fromkeys(starts, since_ms))
    return {
        partition: max(start, ends[partition] if at is None else at.offset)
        for partition, start in starts.items()
        for at in [found.get(partition)]
    }


async def holds_records(
    kafka: KafkaSettings, topic: str, partition: int, first: int, end: int
) -> bool:
    """Whether a partition has, or had before retention, a record from `first` on and before `end`.

    Transaction markers and what compaction removed leave offsets without one.

    Raises:
        BrokerError: no broker answers, or it refuses us.
    """
    where = TopicPartition(topic, partition)
    async with async_broker_errors(kafka):
        consumer = AIOKafkaConsumer(**consumer_options(kafka), group_id=None)
        try:
            await consumer.start()
            consumer.assign([where])
            if (await consumer.beginning_offsets([where]))[where] > first:
                return True
            consumer.seek(where, first)
            while await consumer.position(where) < end:
                fetched = await consumer.getmany(where, timeout_ms=_WAIT_MS)
                if fetched.get(where):
                    return bool(fetched[where][0].offset < end)
        finally:
            await consumer.stop()
    return False


async def read_record(kafka: KafkaSettings, topic: str, partition: int, offset: int) -> Any:
    """Return the record at `offset`, as aiokafka's record.

    Raises:
        BrokerError: no broker answers, or it refuses us.
        TocsinError: there is no such record, or not any more.
    """
    ends = await log_ends(kafka, topic)
    if not 0 <= offset < ends.get(partition, 0):
        raise TocsinError(f"{topic}:{partition}:{offset} is not there")
    where = TopicPartition(topic, partition)
    async with async_broker_errors(kafka):
        consumer = AIOKafkaConsumer(**consumer_options(kafka), group_id=None)
        try:
            await consumer.start()
            consumer.assign([where])
            first = (await consumer.beginning_offsets([where]))[where]
            if offset >= first:
                consumer.seek(where, offset)
                record = await asyncio.wait_for(consumer.getone(where), _ONE_S)
                if record.offset == offset:
                    return record
        except TimeoutError:
            raise BrokerError(f"Kafka does not answer for {topic}:{partition}:{offset}") from None
        finally:
            await consumer.stop()
    raise TocsinError(f"{topic}:{partition}:{offset} is gone: retention has deleted it")

"""Step 4: produce what a batch brought, and return when the broker has acknowledged it all."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder
from typing_extensions import override

from streams.connection import broker_error_of, start_producer
from streams.errors import BrokerError
from streams.pipeline.batch import Message, Publisher
from streams.schemas import CUT_HEADERS, DEAD_LETTER_HEADERS
from streams.settings import KafkaSettings
from streams.status import Status

log = logging.getLogger(__name__)

BATCH_BYTES = 256 * 1024
"""Records are handed to the producer by the batch: 150 k -> 215 k events/s against one by one."""

Destination = tuple[str, int]


class KafkaPublisher(Publisher):
    """An idempotent producer that waits an outage out. Call from one event loop.

    Args:
        settings: of the cluster.
        status: told of waits.
        connect: starts a producer, or raises `BrokerError`; aiokafka's unless something else is
            given.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        status: Status,
        connect: Callable[[], Awaitable[AIOKafkaProducer]] | None = None,
    ) -> None:
        self._settings = settings
        self._status = status
        self._connect = connect or self._aiokafka
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._spread = 0
        self.acknowledged = 0
        """Messages that the broker has taken, of which a batch may still wait for others."""

    async def start(self) -> None:
        """Connect, waiting for the broker as long as it takes."""
        await self._connected()

    async def stop(self) -> None:
        """Disconnect; what is not acknowledged may be lost. Calling twice is harmless."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    @override
    async def publish(self, messages: Sequence[Message]) -> None:
        """Produce `messages` and wait for the broker's acknowledgement of each.

        Messages of one destination keep their order. What fails is sent again until it succeeds:
        a consumer may see a message twice, never not at all. A dead letter that is larger than
        its topic takes goes out as its ``tocsin-`` headers, with its size and SHA-256.
        """
        left = list(messages)
        with self._status.waiting("Kafka") as wait:
            while left:
                producer = await self._connected()
                left, error = await self._try(producer, left)
                if not left or error is None:
                    continue
                why = await broker_error_of(error, self._settings)
                if not error.retriable and producer is self._producer:
                    await self.stop()  # an idempotent producer may be beyond repair
                await asyncio.sleep(wait.because(why))

    async def _connected(self) -> AIOKafkaProducer:
        async with self._starting:
            with self._status.waiting("Kafka") as wait:
                while self._producer is None:
                    try:
                        self._producer = await self._connect()
                    except BrokerError as error:
                        await asyncio.sleep(wait.because(error))
        return self._producer

    async def _aiokafka(self) -> AIOKafkaProducer:
        return await start_producer(self._settings, linger_ms=0, max_batch_size=BATCH_BYTES)

    async def _try(
        self, producer: AIOKafkaProducer, messages: list[Message]
    ) -> tuple[list[Message], kafka_errors.KafkaError | None]:
        """Return the messages that were not acknowledged, and an error of theirs."""
        try:
            by_destination = await self._assigned(producer, messages)
        except kafka_errors.KafkaError as error:
            return messages, error
        sent = await asyncio.gather(
            *(send_in_order(producer, *item, self._taken) for item in by_destination.items())
        )
        left = [message for part, _ in sent for message in part]
        return left, next((error for _, error in sent if error is not None), None)

    def _taken(self, count: int) -> None:
        self.acknowledged += count

    async def _assigned(
        self, producer: AIOKafkaProducer, messages: list[Message]
    ) -> dict[Destination, list[Message]]:
        by_destination: dict[Destination, list[Message]] = defaultdict(list)
        for message in messages:
            partition = message.partition
            if partition is None:
                count = len(await producer.partitions_for(message.topic))
                partition = self._partition(message.key, count)
            by_destination[message.topic, partition].append(message)
        return by_destination

    def _partition(self, key: bytes | None, count: int) -> int:
        """Choose as the Java client does; a record without a key goes round."""
        if key is None:
            self._spread += 1
            return self._spread % count
        return int((murmur2(key) & 0x7FFFFFFF) % count)


async def send_in_order(
    producer: AIOKafkaProducer,
    destination: Destination,
    messages: Sequence[Message],
    taken_by_broker: Callable[[int], object] = lambda _: None,
) -> tuple[list[Message], kafka_errors.KafkaError | None]:
    """Send `messages` to one partition in order, as many at once as fit; tell of each acknowledged.

    Returns those that were not acknowledged, in order, and why; where their size is the reason, it
    is that of the first. Of other reasons nobody can tell whether the first batch of them arrived.
    """
    topic, partition = destination
    left, alone = list(messages), 0
    while left:
        builder, taken = _build(producer, left[:1] if alone else left)
        try:
            delivered = await producer.send_batch(builder, topic, partition=partition)
            await delivered
        except kafka_errors.MessageSizeTooLargeError as error:
            if taken > 1:
                alone = taken  # one of these it is: each goes by itself
            elif not _is_dead_letter(left[0]) or _is_shrunk(left[0]):
                return left, error
            else:
                left[0] = _shrunk(left[0])
        except kafka_errors.KafkaError as error:
            return left, error
        else:
            taken_by_broker(taken)
            left, alone = left[taken:], max(alone - taken, 0)
    return [], None


def _build(producer: AIOKafkaProducer, messages: Sequence[Message]) -> tuple[BatchBuilder, int]:
    """Fill one batch and return it with the number of messages that it took, at least one."""
    builder = producer.create_batch()
    taken = 0
    for message in messages:
        fits = builder.append(
            timestamp=None, key=message.key, value=message.value, headers=list(message.headers)
        )
        if fits is None:
            break
        taken += 1
    builder.close()
    return builder, taken


def _is_dead_letter(message: Message) -> bool:
    return any(name == "tocsin-reason" for name, _ in message.headers)


def _shrunk(message: Message) -> Message:
    """Keep what says where the original lies; its own topic has the rest."""
    value = message.value or b""
    log.error("a dead letter of %d bytes is larger than %s takes", len(value), message.topic)
    ours = [header for header in message.headers if header[0] in DEAD_LETTER_HEADERS]
    said = str(len(value)), hashlib.sha256(value).hexdigest()
    cut = [(name, text.encode()) for name, text in zip(CUT_HEADERS, said, strict=True)]
    return replace(message, key=None, value=None, headers=[*ours, *cut])


def _is_shrunk(message: Message) -> bool:
    return any(name in CUT_HEADERS for name, _ in message.headers)

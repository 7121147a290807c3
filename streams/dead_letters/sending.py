"""Send records from a command: one attempt of the client's, then an error for the user to read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from streams.connection import broker_error_of, end_producer, in_time, start_producer
from streams.pipeline.batch import Message
from streams.pipeline.publish import Destination, send_in_order
from streams.settings import KafkaSettings

Send = Callable[[Sequence[Message]], Awaitable[list[Message]]]
"""Sends messages that name their partition, in order of each, and waits for the broker.

It returns those that were not sent because their topic does not take their size. After a
`BrokerError` any of the others may have arrived or not.
"""

# Less than any topic takes, so that only a record that goes alone is refused for its size.
_BATCH_BYTES = 16 * 1024

# A broker that is gone does not let a producer close; nothing is under way by then.
_CLOSE_S = 3.0


@asynccontextmanager
async def sending(kafka: KafkaSettings, within_s: float | None = None) -> AsyncIterator[Send]:
    """Connect a `Send` for the block; for ever, or until a broker takes longer than `within_s`.

    Raises:
        BrokerError: no broker answers, or it refuses us.
    """
    producer = await _open(kafka, within_s)

    async def send(messages: Sequence[Message]) -> list[Message]:
        nonlocal producer
        left, refused = list(messages), list[Message]()
        while left:
            async with in_time(kafka, within_s, "did not confirm this"):
                left, too_large = await _try(producer, kafka, left)
            refused += too_large
            if too_large:  # it left a hole in the sequence of an idempotent producer
                await end_producer(producer, _CLOSE_S)
                producer = await _open(kafka, within_s)
        return refused

    try:
        yield send
    finally:
        await end_producer(producer, _CLOSE_S)


async def _try(
    producer: AIOKafkaProducer, kafka: KafkaSettings, messages: list[Message]
) -> tuple[list[Message], list[Message]]:
    """Send up to the first that is too large on each partition; return those after it, and these.

    All are waited for before an error is raised: nothing is under way when this returns, unless
    it is given up.
    """
    by_destination: dict[Destination, list[Message]] = defaultdict(list)
    for message in messages:
        by_destination[message.topic, message.partition or 0].append(message)
    done = await asyncio.gather(
        *(send_in_order(producer, *item) for item in by_destination.items())
    )
    left, too_large = list[Message](), list[Message]()
    for unsent, error in done:
        if error is not None and not isinstance(error, MessageSizeTooLargeError):
            raise await broker_error_of(error, kafka) from error
        too_large += unsent[:1]
        left += unsent[1:]
    return left, too_large


async def _open(kafka: KafkaSettings, within_s: float | None) -> AIOKafkaProducer:
    async with in_time(kafka, within_s, "does not answer"):
        return await start_producer(kafka, linger_ms=0, max_batch_size=_BATCH_BYTES)

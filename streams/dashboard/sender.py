"""Records out of the dashboard, one caller after the other, acknowledged when it returns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streams.errors import BrokerError
from streams.producers.kafka import KeyedProducer
from streams.producers.sink import Record
from streams.settings import KafkaSettings
from streams.tracing import TraceHeaders


class Sender:
    """A producer that connects when it is first used, and anew after an error."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = asyncio.Lock()
        self._producer: KeyedProducer | None = None

    async def send(
        self, topic: str, records: Sequence[Record], headers: Sequence[TraceHeaders] | None = None
    ) -> None:
        """Send, with `headers` for each, and wait for the broker.

        Raises:
            BrokerError: some were not acknowledged; they may have arrived or not.
        """
        async with self._lock:
            if self._producer is None:
                self._producer = await KeyedProducer(self._kafka).__aenter__()
            try:
                await self._producer.send_many(topic, records, headers)
                await self._producer.flush()
            except BrokerError as error:
                await self._end(error)
                raise

    async def close(self) -> None:
        """Disconnect."""
        async with self._lock:
            await self._end(None)

    async def _end(self, error: Exception | None) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.__aexit__(None if error is None else type(error), error, None)

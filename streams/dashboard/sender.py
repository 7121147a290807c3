"""Records out of the dashboard, one caller after the other, acknowledged when it returns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from streams.errors import BrokerError
from streams.producers.kafka import KeyedProducer
from streams.producers.sink import Record
from streams.settings import KafkaSettings
from streams.tracing import TraceHeaders

WITHIN_S: Final = 10.0
"""For a record and those before it: an idempotent producer tries for ever, and somebody waits."""

_NOT_CONFIRMED: Final = (
    f"did not confirm this within {WITHIN_S:.0f} s: it may have been taken or not, "
    "and can safely be done again"
)

_CLOSE_S: Final = 1.0
"""What is left to a record that is under way when the dashboard ends."""


class Sender:
    """A producer that connects when it is first used, and anew after an error."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = asyncio.Lock()
        self._deadlines = set[asyncio.Timeout]()
        self._producer: KeyedProducer | None = None

    async def send(
        self, topic: str, records: Sequence[Record], headers: Sequence[TraceHeaders] | None = None
    ) -> None:
        """Send, with `headers` for each, and wait for the broker, though not for ever.

        Raises:
            BrokerError: some were not acknowledged, in time or at all. Unless it says that nothing
                was sent they may have arrived or not, and also arrive later.
        """
        is_sent = False
        try:
            async with self._in_time(), self._lock:
                if self._producer is None:
                    self._producer = await KeyedProducer(self._kafka).__aenter__()
                is_sent = True
                try:
                    await self._producer.send_many(topic, records, headers)
                    await self._producer.flush()
                except (BrokerError, asyncio.CancelledError) as error:
                    await self._end(error)
                    raise
        except TimeoutError:
            said = _NOT_CONFIRMED if is_sent else "does not answer in time: nothing was sent"
            raise BrokerError(f"Kafka at {self._kafka.bootstrap_servers} {said}") from None

    async def close(self) -> None:
        """Disconnect; what is under way is given up soon."""
        soon = asyncio.get_running_loop().time() + _CLOSE_S
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(soon)
        async with self._lock:
            await self._end(None)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        async with asyncio.timeout(WITHIN_S) as deadline:
            self._deadlines.add(deadline)
            try:
                yield
            finally:
                self._deadlines.discard(deadline)

    async def _end(self, error: BaseException | None) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.__aexit__(None if error is None else type(error), error, None)

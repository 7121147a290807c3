"""aiokafka's producer as `KafkaPublisher` uses it, over the logs in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, OutOfOrderSequenceNumber

from streams.pipeline.batch import Message
from streams.simulation.broker import Broker
from streams.simulation.clock import Process
from streams.simulation.faults import Faults

PARTITIONS = 2
"""Of every topic that is written."""


class Builder:
    """Takes messages until it is full; of aiokafka's `BatchBuilder`, what is used."""

    LIMIT = 16

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def append(self, *, timestamp: None, key: Any, value: Any, headers: Any) -> object:
        """Add a message, or return None if it does not fit."""
        del timestamp
        if len(self.messages) == self.LIMIT:
            return None
        self.messages.append(Message("", key, value, headers))
        return self

    def close(self) -> None:
        """Nothing more comes."""


class Producer:
    """One producer of one process; what it sends may arrive without its hearing of it."""

    def __init__(
        self, process: Process, broker: Broker, faults: Faults, delay: Callable[[], float]
    ) -> None:
        self._process, self._broker, self._faults, self._delay = process, broker, faults, delay

    def create_batch(self) -> Builder:
        """Return an empty batch."""
        return Builder()

    async def partitions_for(self, topic: str) -> set[int]:
        """Return a topic's partitions."""
        del topic
        return set(range(PARTITIONS))

    async def send_batch(
        self, builder: Builder, topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        """Take a batch; the future is done when it is acknowledged."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._faults.strikes("crash in publish"):
            self._process.exit()
        if self._faults.strikes("produce failed"):
            self._answer(future, KafkaConnectionError())
            return future
        clock = self._process.clock

        def arrive() -> None:
            """What is on its way arrives, whether its sender still lives or not."""
            self._broker.write(topic, builder.messages)
            error: Exception | None = None
            if self._faults.strikes("produce answer lost"):
                error = OutOfOrderSequenceNumber() if clock.now % 1 < 0.2 else KafkaTimeoutError()
            self._answer(future, error)

        clock.after(self._delay(), arrive)
        del partition
        return future

    def _answer(self, future: asyncio.Future[None], error: Exception | None) -> None:
        def answer() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._process.clock.after(self._delay(), answer, self._process)

    async def stop(self) -> None:
        """Disconnect."""

"""The last picture of each camera, read from the end of the frames topic while somebody looks.

Nobody's offsets are touched, and however many look on, the topic's end is read at most every
`EVERY_S`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.admin import describe
from streams.connection import async_broker_errors, consumer_options
from streams.errors import BrokerError, TopicMissing
from streams.settings import Settings

EVERY_S: Final = 1.0
AGAIN_S: Final = 5.0
"""After a read that failed: those who ask meanwhile are told at once, not one after the other."""

_WITHIN_S: Final = 10.0
"""For one read; Kafka's client would wait for a broker that is away for most of a minute."""

_BACK: Final = 32
"""Records before the end of each partition that are looked at: cameras share partitions."""

_CAMERAS: Final = 64
_LARGEST: Final = 2 * 1024 * 1024
_IDLE_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture, JPEG or PNG; when its record was sent, and when it was taken (ms)."""

    data: bytes
    sent_at: int
    taken_at: int

    @property
    def media_type(self) -> str:
        """What kind of picture it is."""
        return "image/png" if self.data.startswith(b"\x89PNG") else "image/jpeg"


class LastFrames:
    """Keeps the last picture of at most `_CAMERAS` cameras."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._frames: OrderedDict[str, Frame] = OrderedDict()
        self._lock = asyncio.Lock()
        self._consumer: Any = None
        self._read_again_at = self._asked_at = 0.0
        self._trouble: str | None = None

    async def get(self, camera: str) -> Frame | None:
        """Return a camera's last picture; None where the topic's end holds none, or there is none.

        Raises:
            BrokerError: no broker answers, or none did a moment ago.
        """
        self._asked_at = time.monotonic()
        async with self._lock:
            if time.monotonic() >= self._read_again_at:
                await self._read_or_note()
            if self._trouble is not None:
                raise BrokerError(self._trouble)
        return self._frames.get(camera)

    async def look(self, camera: str) -> tuple[Frame | None, str]:
        """Return a camera's last picture; why there is none, where nobody can tell."""
        try:
            return await self.get(camera), ""
        except BrokerError as error:
            return None, str(error)

    async def _read_or_note(self) -> None:
        """Read, and note when to read again; later where it fails, which may take long."""
        try:
            async with async_broker_errors(self._settings.kafka):
                with suppress(TopicMissing):
                    await asyncio.wait_for(self._read(), _WITHIN_S)
        except BrokerError as error:
            self._trouble = str(error)
            self._read_again_at = time.monotonic() + AGAIN_S
        else:
            self._trouble = None
            self._read_again_at = time.monotonic() + EVERY_S

    async def close_when_idle(self) -> None:
        """Disconnect when nobody has asked for a while; runs until cancelled."""
        try:
            while True:
                await asyncio.sleep(_IDLE_S / 3)
                if time.monotonic() - self._asked_at > _IDLE_S:
                    async with self._lock:
                        await self._close()
        finally:
            await self._close()

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _read(self) -> None:
        if self._consumer is None:
            topic = self._settings.topics.frames
            count = (await describe(self._settings.kafka, topic)).partitions
            consumer = AIOKafkaConsumer(
                **consumer_options(self._settings.kafka),
                group_id=None,
                fetch_max_wait_ms=100,
                max_partition_fetch_bytes=self._settings.kafka.max_partition_fetch_bytes,
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            consumer.assign([TopicPartition(topic, number) for number in range(count)])
            self._consumer = consumer
        consumer = self._consumer
        partitions = consumer.assignment()
        starts = await consumer.beginning_offsets(list(partitions))
        for partition, end in (await consumer.end_offsets(list(partitions))).items():
            consumer.seek(partition, max(starts[partition], end - _BACK))
        for _ in range(2):  # a partition a fetch, where pictures are large
            fetched = await consumer.getmany(timeout_ms=200)
            for records in fetched.values():
                for record in records:
                    self._keep(record)

    def _keep(self, record: Any) -> None:
        if not record.key or not record.value or len(record.value) > _LARGEST:
            return
        camera = record.key.decode(errors="replace")
        known = self._frames.get(camera)
        if known is None or known.sent_at <= record.timestamp:
            self._frames[camera] = Frame(record.value, record.timestamp, _taken_at(record))
            self._frames.move_to_end(camera)
        if len(self._frames) > _CAMERAS:
            self._frames.popitem(last=False)


def _taken_at(record: Any) -> int:
    """Read when a picture was taken; whoever does not say so sent it at once."""
    said = dict(record.headers or ()).get("captured_at") or b""
    return int(said) if said.isdigit() and len(said) < 16 else int(record.timestamp)

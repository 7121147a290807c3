"""Cameras onto Kafka: a thread each, one producer, and a queue that holds no old pictures."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

import aiokafka.errors
from aiokafka import AIOKafkaProducer

from streams.admin import describe
from streams.connection import async_broker_errors, start_producer
from streams.errors import BrokerError, TocsinError
from streams.producers.camera import Camera, Shape, Shot
from streams.producers.sources import LIVE, Source
from streams.settings import Settings

if TYPE_CHECKING:  # an extra
    from streams.tracing.spans import Spans

log = logging.getLogger(__name__)

_QUEUED = 8
"""Shots of one camera that wait for the broker. Beyond them a live camera loses its oldest, and a
file waits."""

_IN_FLIGHT = 32
_LEAVE_S = 3.0
_TICK_S = 0.005


@dataclass(slots=True)
class Sent:
    """How much went out so far."""

    frames: int = 0
    dropped: int = 0
    """Frames of live cameras that the broker was too slow for."""

    refused: int = 0
    """Frames that are larger than the topic takes."""

    by_camera: dict[str, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    """The offset after our last acknowledged record, by partition."""


@dataclass(frozen=True, slots=True)
class Until:
    """When to stop: after so many frames of all cameras, or seconds; None for never."""

    count: int | None = None
    duration_s: float | None = None


class _Queue:
    """Shots of one camera on their way from its thread."""

    def __init__(self, *, live: bool, stop: threading.Event) -> None:
        self._live, self._stop = live, stop
        self._shots: deque[Shot] = deque()
        self._room = threading.Condition()
        self.dropped = 0

    def put(self, shot: Shot) -> None:
        """Queue a shot; of a live camera the oldest picture gives way, else this waits for room.

        Word that the camera is down gives way to no picture.
        """
        with self._room:
            while len(self._shots) >= _QUEUED and not self._stop.is_set():
                if self._live:
                    pictures = (i for i, one in enumerate(self._shots) if one.data is not None)
                    del self._shots[next(pictures, 0)]
                    self.dropped += 1
                else:
                    self._room.wait(0.1)
            self._shots.append(shot)

    def take(self) -> Shot | None:
        """Take the oldest shot, if there is one."""
        with self._room:
            if not self._shots:
                return None
            self._room.notify()
            return self._shots.popleft()


async def send_video(
    settings: Settings,
    cameras: Mapping[str, Source],
    shape: Shape,
    *,
    until: Until,
    progress: Callable[[Sent], None] = lambda _: None,
    spans: Spans | None = None,
) -> Sent:
    """Send what `cameras` see until the last file has ended; all of it durable on return.

    A share of the frames begins a trace, unless `spans` is None.

    Raises:
        BrokerError: the broker cannot be reached or refuses records.
        CameraLost: a file or folder cannot be read.
        TocsinError: not one frame of a camera is small enough for the topic.
    """
    stop = threading.Event()
    queues = {name: _Queue(live=source.kind in LIVE, stop=stop) for name, source in cameras.items()}
    threads = [
        Camera(name, source, shape, take=queues[name].put, stop=stop)
        for name, source in cameras.items()
    ]
    await describe(settings.kafka, settings.topics.frames)  # a missing topic is said here
    producer = await start_producer(
        settings.kafka, max_batch_size=settings.vision.max_frame_bytes + 65_536
    )
    sender = _Sender(producer, settings, spans)
    try:
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        while until.count is None or sender.sent.frames < until.count:
            if until.duration_s is not None and time.monotonic() - begun >= until.duration_s:
                break
            alive = any(thread.is_alive() for thread in threads)  # before the last look
            shots = [shot for queue in queues.values() if (shot := queue.take()) is not None]
            for thread in threads:
                if thread.error is not None:
                    raise thread.error
            for shot in shots:
                await sender.send(shot)
            progress(sender.sent)
            if not shots and not alive:
                break
            await asyncio.sleep(0 if shots else _TICK_S)
        await sender.flush()
    finally:
        stop.set()
        sender.sent.dropped = sum(queue.dropped for queue in queues.values())
        await producer.stop()
        await asyncio.to_thread(_wait_for, threads)
    return sender.sent


def _wait_for(threads: Sequence[Camera]) -> None:
    """Let the cameras come to their end: one that still draws as Python ends aborts the process.

    One that waits for the network may stay behind.
    """
    deadline = time.monotonic() + _LEAVE_S
    for thread in threads:
        if thread.is_alive():
            thread.join(max(deadline - time.monotonic(), 0.0))


class _Sender:
    """Hands shots to the producer, few enough at once to bound what is lost in a crash."""

    def __init__(self, producer: AIOKafkaProducer, settings: Settings, spans: Spans | None) -> None:
        self._producer, self._settings = producer, settings
        self._topic, self._limit = settings.topics.frames, settings.vision.max_frame_bytes
        self._traces = repeat([]) if spans is None else spans.starts(self._topic)
        self._flying: deque[tuple[asyncio.Future[object], int]] = deque()
        self.sent = Sent()

    async def send(self, shot: Shot) -> None:
        """Send one shot, waiting while many are unacknowledged."""
        camera, size = shot.headers.camera_id, len(shot.data or b"")
        if size > self._limit:
            self._refuse(camera, size)
            return
        while len(self._flying) >= _IN_FLIGHT:
            await self._landed()
        headers = [*shot.headers.to_headers(), *next(self._traces)]
        async with async_broker_errors(self._settings.kafka):
            future = await self._producer.send(
                self._topic, shot.data, camera.encode(), headers=headers
            )
        self._flying.append((future, size))
        if shot.data is not None:
            self.sent.frames += 1
            self.sent.by_camera[camera] = self.sent.by_camera.get(camera, 0) + 1

    async def flush(self) -> None:
        """Wait for every acknowledgement."""
        while self._flying:
            await self._landed()

    async def _landed(self) -> None:
        future, size = self._flying.popleft()
        async with async_broker_errors(self._settings.kafka):
            try:
                stored = await future
            except aiokafka.errors.MessageSizeTooLargeError:
                raise BrokerError(
                    f"topic {self._topic!r} takes no frame of {size} bytes: raise its "
                    "max.message.bytes, or lower --size or --quality"
                ) from None
        self.sent.ends[stored.partition] = stored.offset + 1  # type: ignore[attr-defined]

    def _refuse(self, camera: str, size: int) -> None:
        said = (
            f"camera {camera}: a frame of {size} bytes is larger than vision.max_frame_bytes, "
            f"{self._limit}: lower --size or --quality"
        )
        if not self.sent.by_camera.get(camera):
            raise TocsinError(said)
        if self.sent.refused % 100 == 0:
            log.warning("%s", said)
        self.sent.refused += 1

"""Frames onto Kafka: a backlog at once, or cameras at an even pace."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

from streams.bench.video.footage import Footage
from streams.connection import async_broker_errors, start_producer
from streams.frames import FrameHeaders
from streams.settings import Settings

IN_FLIGHT: Final = 64
TICK_S: Final = 0.005


class FrameFeed:
    """A producer of frames that counts them. Open it with ``async with``; leaving flushes."""

    def __init__(self, settings: Settings, topic: str, footage: Footage) -> None:
        self._settings, self._topic, self._footage = settings, topic, footage
        self._producer: Any = None
        self._flying: deque[asyncio.Future[object]] = deque()
        self.sent: Counter[str] = Counter()
        """Pictures by camera."""

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: no broker answers.
        """
        largest = self._settings.vision.max_frame_bytes + 65_536
        self._producer = await start_producer(self._settings.kafka, max_batch_size=largest)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is under way unless something went wrong, and close."""
        try:
            if kind is None:
                while self._flying:
                    await self._landed()
        finally:
            await self._producer.stop()

    async def send(self, camera: str, seq: int, captured_at: float, picture: bytes) -> None:
        """Send a picture that was captured at `captured_at` (s, epoch)."""
        headers = FrameHeaders(
            camera_id=camera,
            captured_at=round(captured_at * 1000),
            seq=seq,
            width=self._footage.width,
            height=self._footage.height,
            source=self._footage.source,
        )
        await self._send(headers, picture)
        self.sent[camera] += 1

    async def down(self, camera: str) -> None:
        """Say that a camera is down."""
        now = round(time.time() * 1000)
        source = self._footage.source
        await self._send(
            FrameHeaders(camera_id=camera, captured_at=now, source=source, state="down"), None
        )

    async def _send(self, headers: FrameHeaders, value: bytes | None) -> None:
        while len(self._flying) >= IN_FLIGHT:
            await self._landed()
        async with async_broker_errors(self._settings.kafka):
            future = await self._producer.send(
                self._topic, value, headers.camera_id.encode(), headers=headers.to_headers()
            )
        self._flying.append(future)

    async def _landed(self) -> None:
        async with async_broker_errors(self._settings.kafka):
            await self._flying.popleft()


def names(cameras: int, mark: str = "camera") -> list[str]:
    """Name so many cameras."""
    return [f"{mark}-{number:03d}" for number in range(cameras)]


def due(cameras: int, fps: float, seconds: float) -> Iterator[tuple[float, int, int]]:
    """Give each frame's time (s from the start), camera and number: evenly, cameras in turn."""
    for place in range(round(cameras * fps * seconds)):
        yield place / (cameras * fps), place % cameras, place // cameras


async def preload(
    settings: Settings, topic: str, footage: Footage, *, cameras: int, fps: float, frames: int
) -> None:
    """Put a backlog of `frames` frames on the topic, captured up to now; durable on return."""
    whole_s = frames / (cameras * fps)
    begun, known = time.time() - whole_s, names(cameras)
    async with FrameFeed(settings, topic, footage) as feed:
        for at_s, camera, number in due(cameras, fps, whole_s):
            picture = footage.of(camera, cameras, number)
            await feed.send(known[camera], number, begun + at_s, picture)


async def pace(
    settings: Settings,
    topic: str,
    footage: Footage,
    *,
    cameras: int,
    fps: float,
    seconds: float,
    mark: str = "camera",
) -> Counter[str]:
    """Send `cameras` cameras at `fps` for `seconds`; return how many frames of each went out.

    A frame is captured when it is due, also where this process is too late to send it then.
    """
    known, begun = names(cameras, mark), time.time()
    async with FrameFeed(settings, topic, footage) as feed:
        for at_s, camera, number in due(cameras, fps, seconds):
            if (early_s := begun + at_s - time.time()) > 0:
                await asyncio.sleep(max(early_s, TICK_S))
            picture = footage.of(camera, cameras, number)
            await feed.send(known[camera], number, begun + at_s, picture)
        return feed.sent

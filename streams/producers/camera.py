"""One camera's thread: open, read at an even pace, encode, hand on; open again when it is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import cv2

from models.vision.images import Picture, encode
from streams.frames import FrameHeaders
from streams.producers.sources import LIVE, CameraLost, Reader, Source, open_source

log = logging.getLogger(__name__)

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How pictures are sent."""

    quality: int = 80
    size: tuple[int, int] | None = None
    """Width and height; None leaves them as they are."""

    fps: float | None = None
    """None for the source's own."""

    flat_out: bool = False
    """A file as fast as it can be read, as if its last picture were of now."""

    loop: bool = False
    """Begin a file again at its end."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture to send, or, without `data`, word that the camera is down."""

    headers: FrameHeaders
    data: bytes | None


class Camera(threading.Thread):
    """Reads one source until its end, or until `stop` is set.

    Args:
        name: the camera's id.
        source: what it reads.
        shape: size, quality and pace of what it sends.
        take: gets each shot; may block, which holds the camera up.
        stop: ends it.
        open_reader: opens the source; raises `CameraLost`.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        shape: Shape,
        *,
        take: Callable[[Shot], None],
        stop: threading.Event,
        open_reader: Callable[[Source, tuple[int, int] | None], Reader] = open_source,
    ) -> None:
        super().__init__(name=f"camera-{name}", daemon=True)
        self.camera_id, self._source, self._shape = name, source, shape
        self._take, self._stop_event, self._open = take, stop, open_reader
        self._seq = 0
        self._down_since: float | None = None
        self._next_at = 0.0
        self.error: BaseException | None = None
        """What ended it, other than the end of its source."""

    def run(self) -> None:
        """Read, and come back with a backoff where a live camera is lost."""
        delay_s = FIRST_RETRY_S
        try:
            while not self._stop_event.is_set():
                before = self._seq
                try:
                    if self._read_all():
                        return
                except CameraLost as error:
                    if self._source.kind not in LIVE:
                        raise
                    if self._seq > before:
                        delay_s = FIRST_RETRY_S
                    self._down(error, delay_s)
                    self._stop_event.wait(delay_s)
                    delay_s = min(2 * delay_s, LAST_RETRY_S)
        except BaseException as error:  # noqa: BLE001 - becomes the producer's exception
            self.error = error

    def _read_all(self) -> bool:
        """Read to the end; whether that was the last one."""
        reader = self._open(self._source, self._shape.size)
        try:
            fps = self._shape.fps or reader.fps
            begin = time.time() - (reader.length or 0) / fps
            count = 0
            while not self._stop_event.is_set():
                picture = reader.read()
                if picture is None:
                    return not self._shape.loop
                count += 1
                if self._paced(fps):
                    captured = begin + count / fps if self._shape.flat_out else time.time()
                    self._send(picture, round(captured * 1000))
            return True
        finally:
            reader.close()

    def _paced(self, fps: float) -> bool:
        """Wait until a picture is due; a stream has its own pace, and gives up what comes early."""
        if self._shape.flat_out:
            return True
        now = time.monotonic()
        self._next_at = max(self._next_at, now - 1 / fps)  # after a pause, no rush
        if self._source.kind in {"stream", "webcam"}:
            if self._shape.fps is not None and now < self._next_at:
                return False
        else:
            self._stop_event.wait(max(self._next_at - now, 0))
        self._next_at += 1 / fps
        return True

    def _send(self, picture: Picture, captured_at: int) -> None:
        if self._down_since is not None:
            away_s = time.monotonic() - self._down_since
            log.warning("camera %s: up again after %.1f s", self.camera_id, away_s)
            self._down_since = None
        size = self._shape.size
        if size is not None and (picture.shape[1], picture.shape[0]) != size:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        height, width = picture.shape[:2]
        headers = FrameHeaders(
            camera_id=self.camera_id,
            captured_at=captured_at,
            seq=self._seq,
            width=width,
            height=height,
            source=self._source.kind,
        )
        self._seq += 1
        self._take(Shot(headers, encode(picture, quality=self._shape.quality)))

    def _down(self, error: CameraLost, delay_s: float) -> None:
        """Say once that it is gone, to the log and to the agent."""
        log.warning("camera %s: down: %s: again in %g s", self.camera_id, error, delay_s)
        if self._down_since is None:
            self._down_since = time.monotonic()
            headers = FrameHeaders(
                camera_id=self.camera_id,
                captured_at=round(time.time() * 1000),
                source=self._source.kind,
                state="down",
            )
            self._take(Shot(headers, None))

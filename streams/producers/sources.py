"""Where pictures come from: a file, a folder, a stream, a webcam, or the simulated street.

A `Reader` blocks while it waits for its camera, so each camera has a thread of its own: see
`streams.producers.camera`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

import cv2

from models.vision.images import Picture
from models.vision.scenes import StreetCamera
from streams.errors import SettingsError, TocsinError

Kind = Literal["simulated", "file", "folder", "stream", "webcam"]

LIVE = frozenset({"simulated", "stream", "webcam"})
"""What goes on whether we look or not: frames that nobody takes are gone."""

_FOLDER_FPS = 10.0
_STREAM_FPS = 25.0
_SIMULATED_FPS = 10.0
_SIMULATED_SIZE = (640, 360)
_TIMEOUT_MS = 5_000
_PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}


class CameraLost(TocsinError):
    """A camera cannot be opened, or gives no more pictures; trying again may help."""


@dataclass(frozen=True, slots=True)
class Source:
    """One camera's source; `target` is a path, an address, a webcam's number or a seed."""

    kind: Kind
    target: str

    def __str__(self) -> str:
        """Name it without the password that an address may hold."""
        return re.sub(r"//.*@", "//***@", self.target) if self.kind != "simulated" else "sim"


class Reader(Protocol):
    """An open source. Used by one thread."""

    fps: float
    """Pictures a second, as the source says or as we guess."""

    length: int | None
    """How many pictures there are, where that is known."""

    def read(self) -> Picture | None:
        """Return the next picture, None at the end of a file; blocks while it waits for one.

        Raises:
            CameraLost: the camera went away.
        """

    def close(self) -> None:
        """Let go of it."""


def parse_source(text: str) -> Source:
    """Read what a user writes: ``sim``, ``sim:7``, ``0``, an ``rtsp://`` address, a path.

    Raises:
        SettingsError: it is none of these, or there is no such file.
    """
    if re.fullmatch(r"sim(:\d+)?", text):
        return Source("simulated", text.partition(":")[2] or "0")
    if text.isascii() and text.isdigit():
        return Source("webcam", text)
    if "://" in text:
        scheme = urlsplit(text).scheme
        if scheme not in {"rtsp", "rtsps", "http", "https"}:
            raise SettingsError(f"{scheme}:// is no address of a camera: write rtsp:// or http://")
        return Source("stream", text)
    path = Path(text)
    if text and path.is_dir():
        return Source("folder", text)
    if path.is_file():
        return Source("file", text)
    raise SettingsError(
        f"no camera {text!r}: write a video file, a folder of pictures, rtsp://..., http://..., "
        "a webcam's number, or sim[:SEED]"
    )


def open_source(source: Source, size: tuple[int, int] | None = None) -> Reader:
    """Open a source; `size` (width, height) is what a simulated camera draws and others ignore.

    Raises:
        CameraLost: it cannot be opened.
    """
    if source.kind == "folder":
        return _Folder(Path(source.target))
    if source.kind == "simulated":
        return _Simulated(int(source.target), size)
    return _Capture(source)


class _Capture:
    """What OpenCV can open."""

    def __init__(self, source: Source) -> None:
        self._source = source
        if source.kind == "webcam":
            self._capture = cv2.VideoCapture(int(source.target))
        elif source.kind == "stream":
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
            options = [value for name in timeouts for value in (name, _TIMEOUT_MS)]
            self._capture = cv2.VideoCapture(source.target, cv2.CAP_FFMPEG, options)
        else:
            self._capture = cv2.VideoCapture(source.target)
        if not self._capture.isOpened():
            raise CameraLost(f"cannot open {source}")
        claimed = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = claimed if 0 < claimed <= 1000 else _STREAM_FPS
        frames = round(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = frames if source.kind == "file" and frames > 0 else None

    def read(self) -> Picture | None:
        taken, picture = self._capture.read()
        if taken:
            return picture  # type: ignore[return-value]  # uint8 of three colours
        if self._source.kind == "file":
            return None
        raise CameraLost(f"{self._source} gives no more pictures")

    def close(self) -> None:
        self._capture.release()


class _Folder:
    """The pictures of a folder by name."""

    fps = _FOLDER_FPS

    def __init__(self, folder: Path) -> None:
        names = sorted(path for path in folder.iterdir() if path.suffix.lower() in _PICTURES)
        if not names:
            raise CameraLost(f"no pictures in {folder}: it wants {', '.join(sorted(_PICTURES))}")
        self._names: Iterator[Path] = iter(names)
        self.length: int | None = len(names)

    def read(self) -> Picture | None:
        path = next(self._names, None)
        if path is None:
            return None
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise CameraLost(f"{path} is no picture")
        return picture  # type: ignore[return-value]  # uint8 of three colours

    def close(self) -> None:
        """Nothing is open."""


class _Simulated:
    """The street that the program draws itself."""

    fps = _SIMULATED_FPS
    length: int | None = None

    def __init__(self, seed: int, size: tuple[int, int] | None) -> None:
        width, height = size or _SIMULATED_SIZE
        self._street = StreetCamera(seed, width=width, height=height)
        self._begun = time.monotonic()

    def read(self) -> Picture | None:
        """Draw the street as it is now."""
        picture, _ = self._street.frame(time.monotonic() - self._begun)
        return picture

    def close(self) -> None:
        """Nothing is open."""

"""The pictures of a measurement: encoded once, held in memory, sent as often as it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from models.vision.images import Picture, decode, encode
from models.vision.scenes import StreetCamera
from streams.errors import SettingsError
from streams.producers.sources import open_source, parse_source

FPS: Final = 10.0
"""Of the drawn street: what a surveillance camera sends."""

NOISE: Final = 2.0
"""Standard deviation of a still scene's sensor noise, of 255."""

NOISES: Final = 16
"""Pictures of a still scene that differ in their noise alone."""

QUALITY: Final = 80


@dataclass(frozen=True, slots=True)
class Footage:
    """Pictures in their order; a camera shows them round and round."""

    pictures: tuple[bytes, ...]
    """JPEG."""

    width: int
    height: int
    source: Literal["simulated", "file"]

    def of(self, camera: int, cameras: int, number: int) -> bytes:
        """Return picture `number` of one of `cameras` cameras that begin at different places."""
        begin = camera * len(self.pictures) // max(cameras, 1)
        return self.pictures[(begin + number) % len(self.pictures)]

    def write(self, path: Path) -> None:
        """Write the pictures for another process."""
        path.write_bytes(msgspec.msgpack.encode(self.pictures))


def read_pictures(path: Path) -> list[bytes]:
    """Read what `Footage.write` wrote."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])


def street(count: int, seed: int = 0) -> Footage:
    """Draw `count` pictures of the simulated street, always the same ones."""
    camera = StreetCamera(seed)
    drawn = [camera.frame(number / FPS)[0] for number in range(count)]
    return _footage(drawn, "simulated")


def film(path: Path, count: int) -> Footage:
    """Read the first `count` pictures of a recorded video, or as many as it has.

    Raises:
        SettingsError: it is no video file, or has no pictures.
        CameraLost: it cannot be opened.
    """
    source = parse_source(str(path))
    if source.kind != "file":
        raise SettingsError(f"--video {path} is no recorded video")
    reader = open_source(source)
    pictures: list[Picture] = []
    try:
        while len(pictures) < count and (picture := reader.read()) is not None:
            pictures.append(picture)
    finally:
        reader.close()
    if not pictures:
        raise SettingsError(f"--video {path} has no pictures")
    return _footage(pictures, "file")


def mostly_still(moving: Footage, *, length: int, moves: int) -> Footage:
    """Hold the first picture of `moving` for `length` frames, of which the last `moves` move.

    What is held has the noise of a sensor, for no two pictures of a camera are the same.
    """
    held = decode(moving.pictures[0]).astype(np.float64)
    rng = np.random.default_rng(0)
    noisy = [
        encode(_bytes(held + rng.normal(0, NOISE, held.shape)), quality=QUALITY)
        for _ in range(min(NOISES, length - moves))
    ]
    still = [noisy[number % len(noisy)] for number in range(length - moves)]
    spell = [moving.pictures[number % len(moving.pictures)] for number in range(moves)]
    return Footage((*still, *spell), moving.width, moving.height, moving.source)


def _bytes(picture: npt.NDArray[np.float64]) -> Picture:
    return np.clip(picture, 0, 255).astype(np.uint8)


def _footage(pictures: list[Picture], source: Literal["simulated", "file"]) -> Footage:
    height, width = pictures[0].shape[:2]
    encoded = tuple(encode(picture, quality=QUALITY) for picture in pictures)
    return Footage(encoded, width, height, source)

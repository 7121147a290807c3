"""A detector of bright rectangles, streets drawn for it, and an agent around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from models.vision.boxes import Detections
from models.vision.images import Picture, encode
from models.vision.preprocess import Frame, Letterboxed, letterbox, unletterbox
from streams.schemas import ModelRef
from streams.settings import Settings

MODEL = ModelRef("blobs", "1", "0" * 64)
SIZE = (96, 128)
WIDTH, HEIGHT = 160, 120


class BlobDetector:
    """Sees what is brighter than 200: tall ones are people, wide ones vehicles."""

    names = ("person", "vehicle")
    size = SIZE

    def __init__(self) -> None:
        self.batches: list[int] = []

    def pre(self, frames: Sequence[Frame]) -> Letterboxed:
        return letterbox(frames, self.size)

    def core(self, frames: Letterboxed) -> Any:
        self.batches.append(len(frames))
        return frames.pixels

    def post(self, outputs: Any, frames: Letterboxed) -> list[Detections]:
        return [self._find(*item) for item in zip(outputs, frames.scale, frames.shape, strict=True)]

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        prepared = self.pre(frames)
        return self.post(self.core(prepared), prepared)

    def _find(self, pixels: Any, scale: float, shape: Any) -> Detections:
        bright = (pixels.min(axis=0) > 200).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        if count < 2:
            return Detections.empty()
        x, y, w, h = (stats[1:, at].astype(np.float32) for at in range(4))
        boxes = unletterbox(np.stack([x, y, x + w, y + h], axis=1), float(scale), tuple(shape))
        return Detections(boxes, np.full(len(x), 0.95, np.float32), (w > h).astype(np.int64))


def load_blobs(settings: Settings, threads: int) -> tuple[Any, ModelRef, None]:
    """In place of `streams.pipeline.network.load_network`."""
    del settings, threads
    return BlobDetector(), MODEL, None


def street(*xs: int, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A grey picture with a person 20 x 50 pixels at each of `xs`."""
    picture = np.full((height, width, 3), 90, np.uint8)
    for x in xs:
        picture[40:90, max(x, 0) : max(x + 20, 0)] = 250
    return picture


def walk(count: int, *, start: int = -20, step: int = 4) -> list[bytes]:
    """Frames of one person who walks through the picture."""
    return [encode(street(start + step * i), quality=95) for i in range(count)]


def empty(count: int) -> list[bytes]:
    """Frames of nobody."""
    return [encode(street(), quality=95)] * count


RULES = """
[zones]
picture = [[0, 0], [1, 0], [1, 1], [0, 1]]
right = [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]

[[rule]]
name = "anyone"
kind = "enter"
zone = "picture"
classes = ["person"]
severity = "low"
gone_s = 0.5

[[rule]]
name = "right-half"
kind = "enter"
zone = "right"
classes = ["person"]
severity = "high"
gone_s = 0.5
"""
"""Whoever enters the picture, and its right half."""

PASSING = [*walk(45), *empty(8)]
"""Somebody walks through the picture and is gone for longer than `gone_s`: an alert of each rule,
from its start to its end."""

"""A detector: letterbox on the CPU, the network on its device, suppression on the CPU.

The three parts are separate calls so that an agent can overlap them: while the device runs one
batch, threads prepare the next and finish the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.vision.boxes import Detections
from models.vision.postprocess import Labels, detections
from models.vision.preprocess import Frame, Letterboxed, letterbox

Outputs = npt.NDArray[np.float32]
"""(B, A, 5 + C): box offsets, objectness and class probabilities of every place."""


class ObjectDetector(Protocol):
    """Finds objects in frames. `pre` and `post` may run in any thread, `core` in one at a time."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the C classes; `Detections.class_id` is a place in it."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels of what the network looks at."""
        ...

    def pre(self, frames: Sequence[Frame]) -> Letterboxed:
        """B frames of any sizes onto the canvas. CPU; raises ValueError for what is no frame."""
        ...

    def core(self, frames: Letterboxed) -> Outputs:
        """Run the network. Blocks until the outputs are in host memory, mostly without the GIL.

        Raises:
            DeviceError: not even one frame fits into the device's memory.
        """
        ...

    def post(self, outputs: Outputs, frames: Letterboxed) -> list[Detections]:
        """B lists of objects, in pixels of the original frames. CPU."""
        ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Run the three parts one after the other."""
        ...


class Core(Protocol):
    """The network on one device; ours are `OnnxCore` and `TorchCore`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the C classes."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of its input."""
        ...

    def run(self, pixels: npt.NDArray[np.uint8]) -> Outputs:
        """(B, 3, H, W) to (B, A, 5 + C), for any B; see `ObjectDetector.core`."""
        ...


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is reported.

    Attributes:
        confidence: objectness times class probability must be above it.
        iou: of two boxes of one class that overlap more than this, the weaker one goes.
        labels: one class a place, or all; see `models.vision.postprocess.Labels`.
        clip: cut boxes off at the frame's edges.
    """

    confidence: float = 0.3
    iou: float = 0.65
    labels: Labels = "best"
    clip: bool = True


class YoloxDetector:
    """The `ObjectDetector` around a YOLOX network."""

    def __init__(self, core: Core, thresholds: Thresholds | None = None) -> None:
        self._core = core
        self._thresholds = thresholds or Thresholds()
        self.names = core.names
        self.size = core.size

    def pre(self, frames: Sequence[Frame]) -> Letterboxed:
        """Letterbox B frames."""
        return letterbox(frames, self.size)

    def core(self, frames: Letterboxed) -> Outputs:
        """Run the network on its device."""
        return self._core.run(frames.pixels)

    def post(self, outputs: Outputs, frames: Letterboxed) -> list[Detections]:
        """Decode, filter and suppress."""
        limits = self._thresholds
        return detections(
            outputs,
            frames,
            confidence=limits.confidence,
            iou_threshold=limits.iou,
            labels=limits.labels,
            clip=limits.clip,
        )

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the objects in B frames."""
        prepared = self.pre(frames)
        return self.post(self.core(prepared), prepared)

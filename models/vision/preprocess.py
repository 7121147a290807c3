"""Frames of any size onto the network's canvas, and boxes back: YOLOX's own letterbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from models.vision.boxes import Boxes

Frame = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, BGR, as OpenCV decodes it."""

PADDING = 114
"""Grey of the canvas beside the frame: what the official weights were trained with."""


@dataclass(frozen=True, slots=True)
class Letterboxed:
    """B frames as the network sees them, and the way back.

    Attributes:
        pixels: (B, 3, H, W) uint8, BGR. Bytes, not floats: a quarter of the memory in the queues
            and of the copy to the device, where they become floats.
        scale: (B,) float64, pixels of the canvas a pixel of the frame.
        shape: (B, 2) int64, height and width of the original frames.
    """

    pixels: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float64]
    shape: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, places: Sequence[int]) -> Letterboxed:
        """Some of the frames, in the order of `places`."""
        return Letterboxed(self.pixels[places], self.scale[places], self.shape[places])

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the canvas."""
        return self.pixels.shape[2], self.pixels.shape[3]


def letterbox(frames: Sequence[Frame], size: tuple[int, int]) -> Letterboxed:
    """Scale each frame to fit `size` (H, W), into the top left corner, grey beside it.

    Raises:
        ValueError: a frame is not (H, W, 3) uint8 or has no pixels.
    """
    pixels = np.full((len(frames), 3, *size), PADDING, np.uint8)  # (B, 3, H, W)
    scale = np.ones(len(frames), np.float64)
    shape = np.zeros((len(frames), 2), np.int64)
    for i, frame in enumerate(frames):
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
            raise ValueError(f"a frame is (H, W, 3) uint8, not {frame.shape} {frame.dtype}")
        height, width = shape[i] = frame.shape[:2]
        scale[i] = min(size[0] / height, size[1] / width)
        h, w = max(int(height * scale[i]), 1), max(int(width * scale[i]), 1)
        small = frame if (h, w) == frame.shape[:2] else cv2.resize(frame, (w, h))
        pixels[i, :, :h, :w] = small.transpose(2, 0, 1)  # (h, w, 3) -> (3, h, w)
    return Letterboxed(pixels, scale, shape)


def unletterbox(xyxy: Boxes, scale: float, shape: tuple[int, int] | None = None) -> Boxes:
    """Boxes on the canvas in pixels of the frame.

    Args:
        xyxy: (N, 4).
        scale: pixels of the canvas a pixel of the frame.
        shape: (H, W) of a frame whose edges cut the boxes off; a box that lies in the padding
            altogether comes back without area. None leaves them as they are.
    """
    out: Boxes = xyxy / np.float32(scale)
    if shape is None:
        return out
    height, width = shape
    limits = np.array([width, height, width, height], np.float32)
    return np.clip(out, 0, limits)

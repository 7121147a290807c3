"""Variations of a training example: mirrored, scaled, shifted, in other light, less sharp."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from models.vision.annotations import Truth
from models.vision.boxes import Boxes, area
from models.vision.examples import Example
from models.vision.preprocess import PADDING, Frame

_KEPT = 0.35  # of an object that a shift cuts off more, nobody could say where it ends


def vary(example: Example, size: tuple[int, int], rng: np.random.Generator) -> Example:
    """One variation on a canvas of `size` (H, W); the same for the same state of `rng`."""
    return _photograph(_move(example, size, rng), rng)


def _move(example: Example, size: tuple[int, int], rng: np.random.Generator) -> Example:
    """Mirror, scale and shift."""
    height, width = example.image.shape[:2]
    fit = min(size[0] / height, size[1] / width)
    scale = fit * math.exp(float(rng.uniform(-0.2, 0.35)))
    wide = scale * math.exp(float(rng.uniform(-0.08, 0.08)))
    # As much as the picture is smaller or larger than the canvas, it may lie elsewhere.
    left, top = (
        float(rng.uniform(min(0.0, room), max(0.0, room)))
        for room in (size[1] - width * wide, size[0] - height * scale)
    )
    mirrored = rng.random() < 0.5
    x_axis, x_origin = (-wide, left + width * wide) if mirrored else (wide, left)
    matrix = np.array([[x_axis, 0, x_origin], [0, scale, top]], np.float32)
    # OpenCV's pixel centres lie on whole numbers, ours between them.
    centred = matrix.copy()
    centred[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1]) - 0.5
    grey = (PADDING, PADDING, PADDING)
    image = cv2.warpAffine(example.image, centred, size[::-1], borderValue=grey)
    xyxy = np.empty_like(example.truth.xyxy)
    xyxy[:, 0::2] = np.sort(example.truth.xyxy[:, 0::2] * x_axis + x_origin, axis=1)
    xyxy[:, 1::2] = example.truth.xyxy[:, 1::2] * scale + top
    return Example(image.astype(np.uint8, copy=False), _cut(xyxy, size, example.truth))


def _cut(xyxy: Boxes, size: tuple[int, int], truth: Truth) -> Truth:
    """Cut the boxes off at the canvas; ignore what is left of those that were mostly beside it."""
    limit = np.array([*size[::-1], *size[::-1]], np.float32)
    inside = np.clip(xyxy, 0, limit)
    share = area(inside) / np.maximum(area(xyxy), 1e-6)
    kept = (share > 0.02) & (inside[:, 2:] - inside[:, :2] > 1.0).all(1)
    ignored = truth.ignored | (share < _KEPT)
    return Truth(inside[kept], truth.class_id[kept], ignored[kept])


def _photograph(example: Example, rng: np.random.Generator) -> Example:
    """Exposure, white balance, blur, grain and compression of another camera."""
    image = example.image
    gain = math.exp(float(rng.uniform(-0.25, 0.25))) * np.exp(rng.uniform(-0.08, 0.08, 3))
    gamma = math.exp(float(rng.uniform(-0.25, 0.25)))
    ramp = (np.arange(256) / 255.0) ** gamma * 255.0
    table = np.clip(ramp[None, :, None] * gain, 0, 255).astype(np.uint8)  # (1, 256, 3)
    image = cv2.LUT(image, table).astype(np.uint8, copy=False)
    if rng.random() < 0.1:
        image = _grey(image)
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 0.9))).astype(np.uint8)
    if rng.random() < 0.2:
        noise = rng.standard_normal(image.shape, np.float32) * float(rng.uniform(2, 8))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))]
        _, packed = cv2.imencode(".jpg", image, quality)
        decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        image = np.asarray(decoded, np.uint8)
    return Example(image, example.truth)


def _grey(image: Frame) -> npt.NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)

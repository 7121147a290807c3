"""Day and night: how bright it is, and what that does to the backdrop and to what stands on it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from models.vision.scenes.backdrop import LAMPS_SHRINK, Backdrop
from models.vision.scenes.shapes import Colour, Floats, Image, floats

DAY_S = 600.0
"""From one noon to the next: whoever watches for five minutes has seen day and night."""

LIGHTS_ON = 0.55
"""Daylight below which vehicles drive with lights."""

_LEVELS = 48  # the backdrop is lit anew when daylight has moved by one of them
_NIGHT = floats(0.34, 0.27, 0.25)
_DUSK = floats(0.80, 0.88, 1.04)
_FULL = 1.04
_LAMP = floats(0.42, 0.60, 0.66)


def daylight(t: float, phase: float) -> float:
    """Daylight in [0, 1] at `t` seconds; `phase` in [0, 1) shifts noon by that part of a day."""
    return min(1.0, max(0.0, 0.5 + 0.9 * math.cos(2 * math.pi * (t / DAY_S + phase))))


class Lighting:
    """Lights one backdrop; keeps what it lit last."""

    def __init__(self, backdrop: Backdrop) -> None:
        self._backdrop = backdrop
        self._level = -1
        self._image: Image = backdrop.day
        self._light: Floats = np.zeros((0, 0, 3), np.float32)

    def backdrop(self, daylight: float) -> Image:
        """(H, W, 3) uint8, shared: the caller copies before it paints."""
        self._set(daylight)
        return self._image

    def at(self, daylight: float, x: float, y: float) -> Colour:
        """Light on something that stands at a pixel, by channel, about 0.2 to 1."""
        self._set(daylight)
        height, width = self._light.shape[:2]
        row = int(min(max(y / LAMPS_SHRINK, 0), height - 1))
        column = int(min(max(x / LAMPS_SHRINK, 0), width - 1))
        blue, green, red = self._light[row, column].tolist()
        return blue, green, red

    def _set(self, daylight: float) -> None:
        level = round(daylight * _LEVELS)
        if level == self._level:
            return
        day = level / _LEVELS
        # Sunrise and sunset are warm; the night is blue but for the lamps.
        sun = _DUSK + (1.0 - _DUSK) * min(1.0, day * 1.4)
        ambient = _NIGHT + (sun - _NIGHT) * day
        lamps = self._backdrop.lamps[..., None] * (_LAMP * (1.0 - day))
        self._light = np.minimum(ambient + lamps, _FULL).astype(np.float32)  # (H / 4, W / 4, 3)
        # In bytes, where OpenCV is ten times as fast as numpy with floats.
        light = cv2.resize(
            (self._light * (255.0 / _FULL)).astype(np.uint8), self._backdrop.day.shape[1::-1]
        )
        lit = cv2.multiply(self._backdrop.day, light, scale=_FULL / 255.0)
        lit = cv2.addWeighted(lit, 1.0, self._backdrop.windows, 1.0 - day, 0.0)
        self._image = np.asarray(lit, np.uint8)
        self._level = level

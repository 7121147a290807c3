"""The picture behind everything that moves, by day, and what shines in it by night."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.vision.scenes.props import LAMP_M, Prop
from models.vision.scenes.shapes import Floats, Image, fill, floats
from models.vision.scenes.street import Street

LAMPS_SHRINK = 4
"""Light has no edges: a quarter of the size is enough for it."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """Images of one size.

    Attributes:
        day: (H, W, 3) uint8, in full light.
        windows: (H, W, 3) uint8, what lit windows add in the dark.
        lamps: (H / 4, W / 4) float32 in [0, 1], light of the street lamps.
    """

    day: Image
    windows: Image
    lamps: Floats


def paint_backdrop(rng: np.random.Generator, street: Street, props: list[Prop]) -> Backdrop:
    """Sky, houses, pavements, road and marks."""
    day = np.zeros((street.height, street.width, 3), np.uint8)
    windows = np.zeros_like(day)
    _sky(rng, day)
    _houses(rng, street, day, windows)
    _ground(rng, street, day)
    grain = rng.normal(0.0, 1.0, (street.height // 2 + 1, street.width // 2 + 1)).astype(np.float32)
    grain = cv2.resize(grain, (street.width, street.height)) * float(rng.uniform(2.0, 6.0))
    rough = cv2.cvtColor(np.abs(grain).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    day = cv2.subtract(day, rough).astype(np.uint8, copy=False)
    return Backdrop(day, windows, _lamp_light(street, props))


def _sky(rng: np.random.Generator, day: Image) -> None:
    top = floats(rng.uniform(190, 235), rng.uniform(150, 200), rng.uniform(110, 190))
    low = floats(235, 225, 215)
    down = np.linspace(0.0, 2.5, len(day), dtype=np.float32)[:, None]
    day[:] = (top + (low - top) * np.minimum(1.0, down))[:, None]  # (H, 1, 3)


def _houses(rng: np.random.Generator, street: Street, day: Image, windows: Image) -> None:
    scale, base = street.scale(street.houses_z), street.foot(0.0, street.houses_z)[1]
    x = -float(rng.uniform(0, 60))
    while x < street.width:
        width = float(rng.uniform(4.5, 9.0)) * scale
        right, top = x + width, base - float(rng.uniform(6.0, 12.0)) * scale
        wall = floats(*(rng.uniform(110, 205) + rng.uniform(-30, 30, 3)))
        _fill_box(day, (x, top), (right, base), wall)
        _fill_box(day, (x, base - 0.5 * scale), (right, base), wall * 0.75)
        _fill_box(day, (x, top), (right, top + 0.35 * scale), wall * 0.6)
        house = _House(x, base, width, scale, wall)
        _storeys(rng, house, day, windows)
        if rng.random() < 0.4:
            _shop(rng, house, day, windows)
        else:
            _ground_floor(rng, house, day)
        x += width


@dataclass(frozen=True, slots=True)
class _House:
    """In pixels; its base is the ground in front of it."""

    left: float
    base: float
    width: float
    scale: float
    wall: Floats

    def columns(self) -> list[tuple[float, float]]:
        """Left and right edge of each column of windows."""
        number = max(2, int(self.width / (1.7 * self.scale)))
        pitch = self.width / number
        return [
            (self.left + (k + 0.22) * pitch, self.left + (k + 0.78) * pitch) for k in range(number)
        ]


_GLASS = floats(110, 97, 83)


def _storeys(rng: np.random.Generator, house: _House, day: Image, windows: Image) -> None:
    scale, warm = house.scale, floats(70, 150, 200)
    for x0, x1 in house.columns():
        for storey in range(1, 4):
            low = house.base - (1.0 + 2.9 * storey) * scale
            high = low - 1.4 * scale
            _fill_box(day, (x0 - 1, high - 1), (x1 + 1, low + 1), house.wall * 0.8)
            _fill_box(day, (x0, high), (x1, low), _GLASS)
            if rng.random() < 0.35:
                _fill_box(windows, (x0, high), (x1, low), warm)


def _ground_floor(rng: np.random.Generator, house: _House, day: Image) -> None:
    """Windows and a door."""
    columns, base, scale = house.columns(), house.base, house.scale
    door = int(rng.integers(len(columns)))
    for column, (x0, x1) in enumerate(columns):
        if column == door:
            leaf = floats(*rng.uniform(40, 150, 3))
            _fill_box(day, (x0, base - 2.2 * scale), (x1, base), leaf)
        else:
            _fill_box(day, (x0, base - 2.3 * scale), (x1, base - 1.0 * scale), _GLASS)


def _shop(rng: np.random.Generator, house: _House, day: Image, windows: Image) -> None:
    """A window as wide as the house below a sign."""
    base, scale, sign = house.base, house.scale, floats(*rng.uniform(40, 200, 3))
    x0, x1 = house.left + 0.08 * house.width, house.left + 0.92 * house.width
    glass = ((x0, base - 2.4 * scale), (x1, base - 0.4 * scale))
    _fill_box(day, *glass, _GLASS)
    _fill_box(windows, *glass, floats(40, 75, 95))
    _fill_box(day, (x0 - 3, base - 3.0 * scale), (x1 + 3, base - 2.4 * scale), sign)


def _ground(rng: np.random.Generator, street: Street, day: Image) -> None:
    stone, tar = float(rng.uniform(135, 180)), float(rng.uniform(70, 105))
    paving = floats(stone - 4, stone, stone + 2)
    joint = paving * 0.9
    _fill(day, street.strip(street.houses_z, street.far_kerb_z), paving)
    _fill(day, street.strip(street.near_kerb_z, 1.0), paving)
    reach = street.reach(street.houses_z)
    for x in np.arange(-reach, reach, 1.5).tolist():  # joints between the slabs
        _fill(day, street.ground(x, x + 0.06, street.houses_z, street.far_kerb_z), joint)
        _fill(day, street.ground(x, x + 0.05, street.near_kerb_z, 4.0), joint)
    for z in np.arange(5.0, street.near_kerb_z, 1.5).tolist():
        _fill(day, street.strip(z, z + 0.05), joint)
    _fill(day, street.strip(street.far_kerb_z, street.near_kerb_z), floats(tar, tar, tar))
    _fill(day, street.strip(street.far_kerb_z, street.bay_z), floats(tar, tar, tar) * 1.12)
    _fill(day, street.strip(street.far_kerb_z + 0.25, street.far_kerb_z), paving * 1.15)
    _fill(day, street.strip(street.near_kerb_z, street.near_kerb_z - 0.25), paving * 1.15)
    middle, white = (street.bay_z + street.near_kerb_z) / 2, floats(215, 218, 220)
    half = street.crossing_m / 2
    for x in np.arange(-reach, reach, 4.0).tolist():
        if abs(x + 1.0 - street.crossing_x) > half + 1.5:
            _fill(day, street.ground(x, x + 2.0, middle + 0.08, middle - 0.08), white)
    for z in np.arange(street.near_kerb_z + 0.4, street.bay_z - 0.4, 1.0).tolist():
        left = street.crossing_x - half
        _fill(day, street.ground(left, left + street.crossing_m, z + 0.5, z), white)


def _lamp_light(street: Street, props: list[Prop]) -> Floats:
    """A pool of light on the ground below each lamp, and a halo around it."""
    light = np.zeros(
        (-(-street.height // LAMPS_SHRINK), -(-street.width // LAMPS_SHRINK)), np.float32
    )
    y, x = np.mgrid[: light.shape[0], : light.shape[1]].astype(np.float32) * LAMPS_SHRINK + 2.0
    for prop in props:
        if not prop.lamp:
            continue
        scale, (foot_x, foot_y) = street.scale(prop.z), street.foot(prop.x, prop.z)
        pool = ((x - foot_x) / (4.5 * scale)) ** 2 + ((y - foot_y - scale) / (2.6 * scale)) ** 2
        halo = ((x - foot_x) ** 2 + (y - foot_y + LAMP_M * scale) ** 2) / (1.6 * scale) ** 2
        light += 0.8 * np.exp(-pool) + 0.6 * np.exp(-halo)
    return np.minimum(light, 1.0)


def _fill(image: Image, polygon: Floats, colour: Floats) -> None:
    blue, green, red = colour.tolist()
    fill(image, polygon, (blue, green, red))


def _fill_box(
    image: Image, low: tuple[float, float], high: tuple[float, float], colour: Floats
) -> None:
    (x0, y0), (x1, y1) = low, high
    _fill(image, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.float32), colour)

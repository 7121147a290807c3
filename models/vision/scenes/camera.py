"""The simulated street camera: pictures of a drawn street, and what is on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from models.vision.boxes import Boxes
from models.vision.scenes import people, vehicles
from models.vision.scenes.backdrop import paint_backdrop
from models.vision.scenes.light import LIGHTS_ON, Lighting, daylight
from models.vision.scenes.props import draw_props
from models.vision.scenes.shapes import (
    Figure,
    Floats,
    Image,
    extent,
    floats,
    in_pixels,
    paint,
    stamp,
)
from models.vision.scenes.street import draw_street
from models.vision.scenes.traffic import Actor, Traffic

CLASS_NAMES = ("person", "vehicle")

MIN_VISIBLE = 0.1
"""Share of a figure below which it is not in the truth: a shoe behind a bus is no person."""

_SHRINK = 2  # the map that tells who hides whom is half the image's size


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """The N objects on a picture.

    Attributes:
        xyxy: (N, 4) float32 pixels: the whole object, also where another hides it, cut off at the
            edges of the picture.
        class_id: (N,) int64, place in `CLASS_NAMES`.
        object_id: (N,) int64, the same as long as it is in the world.
        visible: (N,) float32 in [0, 1], share of the object that is in the picture and not hidden.
    """

    xyxy: Boxes
    class_id: npt.NDArray[np.int64]
    object_id: npt.NDArray[np.int64]
    visible: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.xyxy)


class StreetCamera:
    """A camera over a street of its own, both drawn from the seed."""

    def __init__(self, seed: int = 0, *, width: int = 640, height: int = 360) -> None:
        """Draw the world.

        Args:
            seed: the same seed is the same world, on every machine.
            width: of the pictures, in pixels.
            height: of the pictures; sizes in them follow the height.
        """
        rng = np.random.default_rng([seed, 0])
        self._seed = seed
        self._phase = float(rng.random())
        self.street = draw_street(rng, width, height)
        self._props = draw_props(rng, self.street)
        self._lighting = Lighting(paint_backdrop(rng, self.street, self._props))
        self._traffic = Traffic(seed, self.street)
        self._grain = _grain(rng, width, height)

    def frame(self, t: float) -> tuple[Image, SceneTruth]:
        """The picture at `t` seconds (t >= 0) and its truth: the same for the same seed and time.

        Returns:
            (H, W, 3) uint8 blue, green, red; and the objects on it.
        """
        day = daylight(t, self._phase)
        image = self._lighting.backdrop(day).copy()
        ids = np.zeros((-(-image.shape[0] // _SHRINK), -(-image.shape[1] // _SHRINK)), np.uint8)
        placed: list[tuple[Actor, Floats, int]] = []
        for actor, figure, x, z in self._by_depth(t, day):
            foot, scale = self.street.foot(x, z), self.street.scale(z)
            pixels = in_pixels(figure, foot, scale)
            if actor is not None:
                _shadow(image, pixels, foot, 0.35 + 0.25 * day)
            paint(image, figure, pixels, self._lighting.at(day, *foot))
            if actor is None:
                stamp(ids, pixels, 0, _SHRINK)
            elif len(placed) < 255:
                stamp(ids, pixels, len(placed) + 1, _SHRINK)
                placed.append((actor, pixels, _count(ids, extent(pixels), len(placed) + 1)))
        return self._sensor(image, t, day), _truth(placed, ids, image.shape[1], image.shape[0])

    def _by_depth(self, t: float, day: float) -> list[tuple[Actor | None, Figure, float, float]]:
        """All that is to be painted, the farthest first; props have no actor."""
        things: list[tuple[Actor | None, Figure, float, float]] = [
            (None, prop.figure, prop.x, prop.z) for prop in self._props
        ]
        for actor in self._traffic.present(t):
            x, z = actor.at(t)
            if abs(x) < self.street.reach(z) + 6.0:
                things.append((actor, _pose(actor, t, dark=day < LIGHTS_ON), x, z))
        return sorted(things, key=lambda thing: -thing[3])

    def _sensor(self, image: Image, t: float, day: float) -> Image:
        """Grain of the sensor, stronger in the dark: the grain of a moment is its own too."""
        height, width = image.shape[:2]
        rng = np.random.default_rng([self._seed, 3, round(t * 1000)])
        bright, dark = self._grain[0 if day > LIGHTS_ON else 1]
        for grain, add in ((bright, True), (dark, False)):
            y, x = rng.integers(0, _TILE, 2).tolist()
            window = grain[y : y + height, x : x + width]
            image = cv2.add(image, window) if add else cv2.subtract(image, window)  # type: ignore[assignment]
        return image


_TILE = 128  # the grain is drawn once, repeats, and is cut out elsewhere each time


def _grain(rng: np.random.Generator, width: int, height: int) -> list[tuple[Image, Image]]:
    """By day and by night: what to add and what to take away."""
    pairs = []
    repeat = (height // _TILE + 2, width // _TILE + 2, 1)
    for sigma in (float(rng.uniform(1.0, 3.0)), float(rng.uniform(3.0, 6.0))):
        noise = rng.standard_normal((_TILE, _TILE, 3), np.float32) * sigma
        both = (np.maximum(noise, 0), np.maximum(-noise, 0))
        add, take = (np.tile(part.astype(np.uint8), repeat) for part in both)
        pairs.append((add, take))
    return pairs


def _pose(actor: Actor, t: float, *, dark: bool) -> Figure:
    """The figure of a moment."""
    before, after = actor.at(t - 0.15), actor.at(t + 0.15)
    dx, dz = after[0] - before[0], after[1] - before[1]
    if isinstance(actor.look, vehicles.VehicleLook):
        moves = dx != 0.0
        figure = _vehicle(vehicles.with_lights(actor.look, on=dark and moves))
        return figure.mirrored() if dx < 0 else figure
    speed = math.hypot(dx, dz) / 0.3
    way = actor.way(t)
    facing = abs(dx) / (speed * 0.3) if speed > 0 else 0.25
    figure = people.figure(
        actor.look,
        2 * math.pi * way / people.STRIDE_M,
        min(1.0, speed),
        facing=max(0.25, facing),
    )
    return figure.mirrored() if dx < 0 else figure


@lru_cache(maxsize=128)
def _vehicle(look: vehicles.VehicleLook) -> Figure:
    """A vehicle looks the same as long as it is there, so it is built once."""
    return vehicles.figure(look)


def _shadow(image: Image, pixels: Floats, foot: tuple[float, float], depth: float) -> None:
    """Darken the ground below a figure."""
    x1, _, x2, y2 = extent(pixels).tolist()
    half, flat = (x2 - x1) * 0.52, max(2.0, (x2 - x1) * 0.06)
    left, top = max(0, int(foot[0] - half) - 1), max(0, int(y2 - flat) - 1)
    patch = image[top : int(y2 + flat) + 2, left : max(0, int(foot[0] + half) + 2)]
    if patch.size == 0:
        return
    dark = patch.copy()
    centre = (round((foot[0] - left) * 16), round((y2 - top) * 16))
    cv2.ellipse(
        dark,
        centre,
        (round(half * 16), round(flat * 16)),
        0,
        0,
        360,
        (20, 20, 20),
        -1,
        cv2.LINE_AA,
        4,
    )
    cv2.addWeighted(dark, depth, patch, 1.0 - depth, 0.0, dst=patch)


def _count(ids: npt.NDArray[np.uint8], box: Floats, number: int) -> int:
    """Cells of the map that bear `number` within a box of pixels."""
    x1, y1, x2, y2 = (box / _SHRINK).tolist()
    rows = slice(max(0, int(y1) - 1), max(0, int(y2) + 2))
    columns = slice(max(0, int(x1) - 1), max(0, int(x2) + 2))
    return int(np.count_nonzero(ids[rows, columns] == number))


def _truth(
    placed: list[tuple[Actor, Floats, int]], ids: npt.NDArray[np.uint8], width: int, height: int
) -> SceneTruth:
    """Boxes of what can be seen of the figures that were painted, in the order of painting."""
    boxes, classes, objects, shares = [], [], [], []
    limit = floats(width, height, width, height)
    for number, (actor, pixels, painted) in enumerate(placed, 1):
        whole = extent(pixels)
        box = np.clip(whole, 0, limit)
        size, full = np.maximum(box[2:] - box[:2], 0), whole[2:] - whole[:2]
        if painted == 0:
            continue
        inside = float(size.prod() / full.prod())
        visible = inside * _count(ids, whole, number) / painted
        if visible < MIN_VISIBLE:
            continue
        boxes.append(box)
        classes.append(actor.class_id)
        objects.append(actor.object_id)
        shares.append(visible)
    return SceneTruth(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(classes, np.int64),
        np.array(objects, np.int64),
        np.array(shares, np.float32),
    )

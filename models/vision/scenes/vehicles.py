"""Vehicles, seen from the side: cars, vans, lorries and buses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.vision.scenes.shapes import Colour, Figure, Sketch

Body = Literal["saloon", "hatch", "van", "lorry", "bus"]

_BODIES: tuple[Body, ...] = ("saloon", "hatch", "van", "lorry", "bus")
_SHARES = (0.36, 0.32, 0.16, 0.09, 0.07)
_LENGTHS: dict[Body, tuple[float, float]] = {
    "saloon": (4.3, 4.8),
    "hatch": (3.6, 4.2),
    "van": (4.8, 5.6),
    "lorry": (6.2, 7.6),
    "bus": (8.5, 10.0),
}
_HEIGHTS: dict[Body, tuple[float, float]] = {
    "saloon": (1.4, 1.5),
    "hatch": (1.45, 1.65),
    "van": (1.95, 2.4),
    "lorry": (2.7, 3.1),
    "bus": (2.8, 3.1),
}
_GLASS: Colour = (110, 95, 80)
_TYRE: Colour = (28, 28, 28)
_HUB: Colour = (150, 150, 150)


@dataclass(frozen=True, slots=True)
class VehicleLook:
    """What a vehicle is; it drives to the right unless it is mirrored."""

    body: Body
    length_m: float
    height_m: float
    paint: Colour
    load: Colour
    """Of a lorry's box and of a bus's stripe."""
    lights: bool = False
    """Head and tail lights, as at night."""


def draw_look(rng: np.random.Generator) -> VehicleLook:
    """Another one."""
    body = _BODIES[int(rng.choice(len(_BODIES), p=_SHARES))]
    grey = rng.random() < 0.45  # as on real streets, where half are white, grey or black
    base = rng.integers(30, 235)
    paint = [float(base)] * 3 if grey else [float(v) for v in rng.integers(25, 225, 3)]
    load = [float(v) for v in rng.integers(60, 240, 3)]
    return VehicleLook(
        body=body,
        length_m=float(rng.uniform(*_LENGTHS[body])),
        height_m=float(rng.uniform(*_HEIGHTS[body])),
        paint=(paint[0], paint[1], paint[2]),
        load=(load[0], load[1], load[2]),
    )


def with_lights(look: VehicleLook, *, on: bool) -> VehicleLook:
    """The same vehicle, lights on or off."""
    return replace(look, lights=on)


def figure(look: VehicleLook) -> Figure:
    """The vehicle, its foot below its middle."""
    sketch = Sketch()
    end, wheel = look.length_m / 2, 0.32 if look.height_m < 2 else 0.44
    floor = wheel * 0.62
    if look.body in ("saloon", "hatch"):
        _car(sketch, look, end, floor)
    elif look.body == "lorry":
        _lorry(sketch, look, end, floor)
    else:
        _tall(sketch, look, end, floor)
    for x in (-0.62 * end, 0.64 * end):
        sketch.oval((x, wheel), (wheel * 1.12, wheel * 1.12), _dim(look.paint, 0.35))
        sketch.oval((x, wheel), (wheel, wheel), _TYRE)
        sketch.oval((x, wheel), (wheel * 0.5, wheel * 0.5), _HUB)
    _lights(sketch, look, end, floor)
    return sketch.done()


def _car(sketch: Sketch, look: VehicleLook, end: float, floor: float) -> None:
    top, belt = look.height_m, 0.6 * look.height_m
    tail = -0.62 * end if look.body == "saloon" else -0.95 * end
    roof = [(tail, belt), (tail + 0.2 * end, top), (0.22 * end, top), (0.56 * end, belt)]
    sketch.patch(roof, look.paint)
    glass = [(tail + 0.12 * end, belt), (tail + 0.26 * end, 0.94 * top), (0.18 * end, 0.94 * top)]
    sketch.patch([*glass, (0.46 * end, belt)], _GLASS)
    _shell(sketch, look, end, floor, belt)
    middle = (tail + 0.5 * end) / 2
    sketch.limb((middle, belt), (middle - 0.02, 0.95 * top), 0.07, look.paint)
    sketch.limb((middle, floor + 0.1), (middle, belt), 0.02, _dim(look.paint, 0.6))


def _tall(sketch: Sketch, look: VehicleLook, end: float, floor: float) -> None:
    """A van or a bus: one box with a row of windows."""
    top, belt = look.height_m, (0.5 if look.body == "bus" else 0.55) * look.height_m
    nose = 0.97 * end if look.body == "bus" else 0.72 * end
    sketch.patch(
        [(-end, floor), (-end + 0.05, top), (nose, top), (end, belt), (end, floor), (-end, floor)],
        look.paint,
    )
    sketch.box((-end, floor), (end, floor + 0.12), _dim(look.paint, 0.6))
    if look.body == "bus":
        sketch.box((-end, 0.36 * top), (end, 0.44 * top), look.load)
        edges = np.linspace(-0.95 * end, 0.93 * end, 7)
    else:
        edges = (
            np.array([0.28 * end, 0.66 * end])
            if look.load[0] < 150
            else np.linspace(-0.9 * end, 0.66 * end, 4)
        )
    for left, right in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        sketch.box((left + 0.05, belt), (right - 0.05, 0.9 * top), _GLASS)


def _lorry(sketch: Sketch, look: VehicleLook, end: float, floor: float) -> None:
    cab = 0.45 * end
    sketch.box((-end, floor + 0.1), (end, floor + 0.4), _dim(look.paint, 0.4))
    sketch.box((-end, floor + 0.4), (cab, look.height_m), look.load)
    sketch.box((-end, floor + 0.4), (cab, floor + 0.55), _dim(look.load, 0.7))
    top = 0.82 * look.height_m
    sketch.patch(
        [
            (cab + 0.08, floor),
            (cab + 0.08, top),
            (0.88 * end, top),
            (end, 0.5 * top),
            (end, floor),
            (cab + 0.08, floor),
        ],
        look.paint,
    )
    sketch.patch(
        [
            (0.58 * end, 0.55 * top),
            (0.58 * end, 0.92 * top),
            (0.86 * end, 0.92 * top),
            (0.95 * end, 0.55 * top),
        ],
        _GLASS,
    )


def _shell(sketch: Sketch, look: VehicleLook, end: float, floor: float, belt: float) -> None:
    """The lower half of a car, with rounded nose and tail."""
    hull = [
        (-end, floor + 0.1),
        (-0.97 * end, belt - 0.04),
        (-0.6 * end, belt),
        (0.6 * end, belt),
        (0.97 * end, belt - 0.14),
        (end, floor + 0.1),
    ]
    sketch.patch(hull, look.paint)
    sketch.box((-0.98 * end, floor), (0.98 * end, floor + 0.14), _dim(look.paint, 0.55))


def _lights(sketch: Sketch, look: VehicleLook, end: float, floor: float) -> None:
    head: Colour = (215, 245, 255) if look.lights else (200, 205, 205)
    tail: Colour = (60, 60, 255) if look.lights else (40, 40, 150)
    sketch.box((end - 0.16, floor + 0.24), (end - 0.01, floor + 0.42), head, glow=look.lights)
    sketch.box((-end + 0.01, floor + 0.24), (-end + 0.13, floor + 0.42), tail, glow=look.lights)


def _dim(colour: Colour, by: float) -> Colour:
    return (colour[0] * by, colour[1] * by, colour[2] * by)

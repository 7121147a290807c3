"""People: what one looks like, and the figure in a moment of its walk."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.vision.scenes.shapes import Colour, Figure, Sketch

STRIDE_M = 1.4
"""Way of one full step of both legs, for a body of 1.75 m."""

_SKIN: tuple[Colour, ...] = ((150, 180, 230), (115, 150, 205), (70, 105, 160), (50, 70, 110))
_HAIR: tuple[Colour, ...] = ((35, 40, 45), (40, 60, 90), (70, 120, 170), (150, 150, 155))


@dataclass(frozen=True, slots=True)
class PersonLook:
    """What stays the same while a person is on the street."""

    height_m: float
    build: float
    """Width relative to the usual, about 0.85 to 1.25."""
    skin: Colour
    hair: Colour
    top: Colour
    trousers: Colour
    shoes: Colour
    coat: bool
    bag: Colour | None
    """A rucksack's colour."""


def draw_look(rng: np.random.Generator) -> PersonLook:
    """Someone new."""

    def cloth(low: int, high: int) -> Colour:
        blue, green, red = rng.integers(low, high, 3).tolist()
        return (blue, green, red)

    return PersonLook(
        height_m=float(np.clip(rng.normal(1.72, 0.1), 1.35, 1.98)),
        build=float(rng.uniform(0.85, 1.25)),
        skin=_SKIN[rng.integers(len(_SKIN))],
        hair=_HAIR[rng.integers(len(_HAIR))],
        top=cloth(25, 235),
        trousers=cloth(20, 140),
        shoes=cloth(15, 90),
        coat=bool(rng.random() < 0.3),
        bag=cloth(30, 200) if rng.random() < 0.3 else None,
    )


def figure(look: PersonLook, phase: float, swing: float, *, facing: float = 1.0) -> Figure:
    """A person seen from the side (`facing` 1) down to from the front (`facing` 0).

    Args:
        look: who it is.
        phase: of the walk in radians; 2 pi is one step of each leg.
        swing: how far the limbs swing, 0 (stands) to 1 (walks).
        facing: also shortens the swing, which from the front is towards the viewer.
    """
    h, b = look.height_m, look.build * look.height_m
    sketch = Sketch()
    step = math.sin(phase) * swing
    hip, shoulder = (0.0, 0.5 * h), (0.02 * h * facing, 0.8 * h)
    apart = 0.045 * b * (1.0 - facing)  # seen from the front, legs and arms stand side by side
    # 1. From back to front: the far limbs in the shade, the body, the near limbs.
    for side in (-1.0, 1.0):
        shade = 0.72 if side < 0 else 1.0
        reach = step * side
        knee = (0.12 * h * reach * facing + 0.03 * h * swing * facing + apart * side, 0.27 * h)
        lift = 0.05 * h * swing * max(0.0, -math.cos(phase) * side)
        ankle = (0.2 * h * reach * facing - 0.4 * lift * facing + apart * side, 0.035 * h + lift)
        start = (hip[0] + apart * side, hip[1])
        sketch.limb(start, knee, 0.105 * b, _dim(look.trousers, shade), taper=0.75)
        sketch.limb(knee, ankle, 0.078 * b, _dim(look.trousers, shade), taper=0.7)
        toe = (ankle[0] + 0.07 * h * facing, ankle[1] - 0.012 * h)
        sketch.limb(ankle, toe, 0.045 * h, _dim(look.shoes, shade))
        _arm(sketch, look, -reach, side, facing)
        if side < 0:
            _body(sketch, look, hip, shoulder, facing)
    # 2. The head.
    head = (0.035 * h * facing, 0.925 * h)
    sketch.limb((shoulder[0], 0.8 * h), head, 0.06 * b, _dim(look.skin, 0.85))
    sketch.oval(
        (head[0] - 0.012 * h * facing, head[1] + 0.012 * h), (0.058 * h, 0.065 * h), look.hair
    )
    sketch.oval(
        (head[0] + 0.012 * h * facing, head[1] - 0.008 * h), (0.047 * h, 0.058 * h), look.skin
    )
    return sketch.done()


def _body(
    sketch: Sketch,
    look: PersonLook,
    hip: tuple[float, float],
    shoulder: tuple[float, float],
    facing: float,
) -> None:
    h, b = look.height_m, look.build * look.height_m
    if look.bag is not None:
        back = (-0.09 * b * facing, 0.68 * h)
        sketch.oval(back, (0.085 * b, 0.12 * h), look.bag)
    width = 0.15 * b + 0.07 * b * (1.0 - facing)
    hem = (hip[0], 0.36 * h if look.coat else hip[1])
    sketch.limb(shoulder, hem, width, look.top, taper=1.1 if look.coat else 0.85)


def _arm(sketch: Sketch, look: PersonLook, reach: float, side: float, facing: float) -> None:
    h, b = look.height_m, look.build * look.height_m
    shade = 0.72 if side < 0 else 0.88
    out = 0.12 * b * (1.0 - facing) * side
    start = (0.02 * h * facing + out, 0.79 * h)
    elbow = (start[0] + 0.09 * h * reach * facing + 0.1 * out, 0.63 * h)
    hand = (elbow[0] + (0.07 * h * reach + 0.03 * h) * facing, 0.49 * h)
    sketch.limb(start, elbow, 0.062 * b, _dim(look.top, shade))
    sketch.limb(elbow, hand, 0.052 * b, _dim(look.top, shade), taper=0.8)
    sketch.oval(hand, (0.02 * h, 0.022 * h), _dim(look.skin, shade))


def _dim(colour: Colour, by: float) -> Colour:
    return (colour[0] * by, colour[1] * by, colour[2] * by)

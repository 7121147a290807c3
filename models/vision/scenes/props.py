"""What stands still on the street and hides what passes behind it: lamp posts and trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.vision.scenes.shapes import Figure, Sketch, floats
from models.vision.scenes.street import Street

LAMP_M = 5.2


@dataclass(frozen=True, slots=True)
class Prop:
    """A figure at its place."""

    figure: Figure
    x: float
    z: float
    lamp: bool


def draw_props(rng: np.random.Generator, street: Street) -> list[Prop]:
    """Lamp posts along the far kerb, trees between them, now and then a near one."""
    z, props = street.far_kerb_z + 0.3, []
    reach, gap = street.reach(z), float(rng.uniform(8.0, 11.0))
    start = -reach + float(rng.uniform(0.0, gap))
    for x in np.arange(start, reach, gap).tolist():
        props.append(Prop(_lamp_post(rng), x, z, lamp=True))
        if rng.random() < 0.6:
            tree_x = x + gap * float(rng.uniform(0.35, 0.65))
            if abs(tree_x - street.crossing_x) > street.crossing_m:
                props.append(Prop(_tree(rng), tree_x, z, lamp=False))
    if rng.random() < 0.4:
        near_z = street.near_kerb_z - 0.3
        side = street.reach(near_z) * float(rng.uniform(0.5, 0.95)) * float(rng.choice([-1, 1]))
        props.append(Prop(_bollard(), side, near_z, lamp=False))
    return props


def _lamp_post(rng: np.random.Generator) -> Figure:
    sketch, grey = Sketch(), float(rng.uniform(55, 95))
    metal = (grey, grey, grey)
    arm = 0.9 * float(rng.choice([-1.0, 1.0]))
    sketch.limb((0, 0), (0, 0.7), 0.2, metal)
    sketch.limb((0, 0), (0, LAMP_M), 0.13, metal, taper=0.7)
    sketch.limb((0, LAMP_M), (arm, LAMP_M + 0.15), 0.08, metal)
    sketch.limb((arm * 0.8, LAMP_M + 0.1), (arm * 1.2, LAMP_M + 0.12), 0.14, metal)
    sketch.box(
        (min(arm * 0.8, arm * 1.2), LAMP_M),
        (max(arm * 0.8, arm * 1.2), LAMP_M + 0.07),
        (190, 235, 250),
        glow=True,
    )
    return sketch.done()


def _tree(rng: np.random.Generator) -> Figure:
    sketch, height = Sketch(), float(rng.uniform(3.6, 4.8))
    bark = (60.0, 80.0, 100.0)
    sketch.limb((0, 0), (float(rng.normal(0, 0.1)), 0.65 * height), 0.3, bark, taper=0.5)
    leaf = floats(rng.uniform(40, 70), rng.uniform(105, 145), rng.uniform(50, 100))
    for turn in range(9):
        shade = (0.62 + 0.048 * turn) * float(rng.uniform(0.94, 1.06))
        x, y = rng.normal(0, 0.55), 0.78 * height + rng.normal(0, 0.4)
        radius = float(rng.uniform(0.55, 0.95))
        blue, green, red = (leaf * shade).tolist()
        sketch.oval((float(x), float(y)), (radius, radius * 0.85), (blue, green, red))
    return sketch.done()


def _bollard() -> Figure:
    sketch = Sketch()
    sketch.limb((0, 0.1), (0, 0.85), 0.2, (70, 70, 75))
    sketch.limb((0, 0.62), (0, 0.7), 0.21, (235, 235, 235))
    return sketch.done()

"""Where things are: a street that crosses the view, and the pinhole camera above it.

From far to near: houses, a pavement, a bay where cars park, two lanes, a pavement below the camera;
a zebra crossing joins the pavements. Positions are metres: `x` to the right of the middle, `z` away
from the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.vision.scenes.shapes import Floats, floats

_FOCAL_PX = 576.0  # of an image 360 pixels high: about 58 degrees from side to side at 16:9
_BAY_M = 2.2


@dataclass(frozen=True, slots=True)
class Street:
    """A street and a camera; all depths in metres from the camera, far to near."""

    width: int
    height: int
    camera_m: float
    """Height of the camera above the ground."""
    horizon_px: float
    houses_z: float
    far_kerb_z: float
    near_kerb_z: float
    crossing_x: float
    crossing_m: float
    """Width of the zebra crossing."""

    def scale(self, z: float) -> float:
        """Pixels a metre at depth `z`."""
        return _FOCAL_PX * self.height / 360.0 / z

    def foot(self, x: float, z: float) -> tuple[float, float]:
        """Pixel of a point on the ground."""
        scale = self.scale(z)
        return self.width / 2 + scale * x, self.horizon_px + scale * self.camera_m

    def reach(self, z: float) -> float:
        """The `x` at which the view ends at depth `z`."""
        return self.width / 2 / self.scale(z)

    @property
    def bay_z(self) -> float:
        """Edge between the parking bay and the lanes."""
        return self.far_kerb_z - _BAY_M

    def lane_z(self, near: bool) -> float:
        """Where the wheels of a lane run: the far lane goes left, the near one right."""
        lane = (self.bay_z - self.near_kerb_z) / 2
        return self.near_kerb_z + (0.3 if near else 1.3) * lane

    def ground(self, x0: float, x1: float, z0: float, z1: float) -> Floats:
        """(4, 2) float32 pixels of a rectangle on the ground."""
        corners = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
        return np.array([self.foot(x, z) for x, z in corners], np.float32)

    def strip(self, z0: float, z1: float) -> Floats:
        """(4, 2) float32 pixels of all that is seen of the ground between two depths."""
        reach = self.reach(max(z0, z1)) + 1.0
        return self.ground(-reach, reach, z0, z1)

    def regions(self) -> dict[str, Floats]:
        """Polygons (4, 2) in pixels for rules: ``roadway``, ``crossing``, two pavements."""
        half = self.crossing_m / 2
        named = {
            "roadway": self.strip(self.bay_z, self.near_kerb_z),
            "crossing": self.ground(
                self.crossing_x - half, self.crossing_x + half, self.bay_z, self.near_kerb_z
            ),
            "far pavement": self.strip(self.houses_z, self.far_kerb_z),
            "near pavement": self.strip(self.near_kerb_z, 1.0),
        }
        limit = floats(self.width, self.height)
        return {name: np.clip(corners, 0, limit) for name, corners in named.items()}


def draw_street(rng: np.random.Generator, width: int, height: int) -> Street:
    """A new street under a new camera."""
    far_kerb = float(rng.uniform(18.5, 20.5))
    return Street(
        width=width,
        height=height,
        camera_m=float(rng.uniform(4.0, 5.0)),
        horizon_px=float(rng.uniform(0.05, 0.16)) * height,
        houses_z=far_kerb + float(rng.uniform(2.6, 3.6)),
        far_kerb_z=far_kerb,
        near_kerb_z=float(rng.uniform(11.8, 13.0)),
        crossing_x=float(rng.uniform(-4.0, 4.0)),
        crossing_m=float(rng.uniform(2.6, 3.6)),
    )

"""Figures as convex polygons, and the brush that paints them.

Everything that stands or moves on the street is a stack of polygons of `CORNERS` corners each, in
metres around the point where it touches the ground: x to the right, y up. One product turns a
figure into pixels, so a frame costs little more than OpenCV's fills (about 8 us each).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

CORNERS = 12
"""Of every polygon; those that need fewer repeat some."""

Floats = npt.NDArray[np.float32]
Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, blue, green, red."""

Colour = tuple[float, float, float]
"""Blue, green, red in [0, 255]."""

_SHIFT = 4  # OpenCV's fixed point: corners lie on sixteenths of a pixel, so slow things glide
_HALF = np.linspace(-np.pi / 2, np.pi / 2, CORNERS // 2, dtype=np.float32)
_FULL = np.linspace(0.0, 2 * np.pi, CORNERS, endpoint=False, dtype=np.float32)
_CIRCLE = np.stack([np.cos(_FULL), np.sin(_FULL)], 1)


def floats(*values: float) -> Floats:
    """A vector (N,) float32: a colour, a point."""
    return np.array(values, np.float32)


@dataclass(frozen=True, slots=True)
class Figure:
    """P polygons in the order in which they are painted.

    Attributes:
        corners: (P, CORNERS, 2) float32 metres, x right and y up from the foot.
        colours: (P, 3) float32 in [0, 255].
        glow: (P,) bool, polygons that shine by themselves: the light of the scene spares them.
    """

    corners: Floats
    colours: Floats
    glow: npt.NDArray[np.bool_]

    def mirrored(self) -> Figure:
        """The same, looking the other way."""
        return Figure(self.corners * floats(-1, 1), self.colours, self.glow)


class Sketch:
    """Collects the polygons of a figure, from back to front."""

    def __init__(self) -> None:
        self._limbs: list[tuple[float, float, float, float, float, float]] = []
        self._limb_places: list[int] = []
        self._others: list[tuple[int, npt.ArrayLike]] = []
        self._colours: list[Colour] = []
        self._glow: list[bool] = []

    def limb(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        width: float,
        colour: Colour,
        *,
        taper: float = 1.0,
    ) -> None:
        """A stroke with round ends: `width` metres at its start, `taper` times that at its end."""
        self._limb_places.append(len(self._colours))
        self._limbs.append((*start, *end, width / 2, width / 2 * taper))
        self._add(colour, glow=False)

    def oval(self, centre: tuple[float, float], radii: tuple[float, float], colour: Colour) -> None:
        """An ellipse with upright axes."""
        self._others.append((len(self._colours), _CIRCLE * floats(*radii) + floats(*centre)))
        self._add(colour, glow=False)

    def patch(
        self, corners: list[tuple[float, float]], colour: Colour, *, glow: bool = False
    ) -> None:
        """A convex polygon of 3, 4, 6 or 12 corners."""
        repeat = CORNERS // len(corners)
        corners = [corner for corner in corners for _ in range(repeat)]
        self._others.append((len(self._colours), corners))
        self._add(colour, glow=glow)

    def box(
        self,
        low: tuple[float, float],
        high: tuple[float, float],
        colour: Colour,
        *,
        glow: bool = False,
    ) -> None:
        """An upright rectangle."""
        (x0, y0), (x1, y1) = low, high
        self.patch([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, glow=glow)

    def done(self) -> Figure:
        """The figure."""
        corners = np.empty((len(self._colours), CORNERS, 2), np.float32)
        if self._limbs:
            corners[self._limb_places] = _strokes(np.array(self._limbs, np.float32))
        for place, polygon in self._others:
            corners[place] = polygon
        return Figure(corners, np.array(self._colours, np.float32), np.array(self._glow, np.bool_))

    def _add(self, colour: Colour, *, glow: bool) -> None:
        self._colours.append(colour)
        self._glow.append(glow)


def _strokes(limbs: Floats) -> Floats:
    """Outlines (L, CORNERS, 2) of strokes (L, 6): start, end, radius at both."""
    start, end, radii = limbs[:, :2], limbs[:, 2:4], limbs[:, 4:]
    angle = np.arctan2(end[:, 1] - start[:, 1], end[:, 0] - start[:, 0])
    turns = angle[:, None] + _HALF  # (L, CORNERS / 2), the cap of the end
    cap = np.stack([np.cos(turns), np.sin(turns)], 2)  # (L, CORNERS / 2, 2)
    first = start[:, None] - cap * radii[:, 0, None, None]
    second = end[:, None] + cap * radii[:, 1, None, None]
    outline: Floats = np.concatenate([first, second], 1)
    return outline


def in_pixels(figure: Figure, foot: tuple[float, float], scale: float) -> Floats:
    """(P, CORNERS, 2) float32: corners of a figure at `foot`, `scale` pixels a metre."""
    pixels: Floats = figure.corners * floats(scale, -scale) + floats(*foot)
    return pixels


def extent(pixels: Floats) -> Floats:
    """(4,) float32 x1, y1, x2, y2 around polygons (P, CORNERS, 2)."""
    flat = pixels.reshape(-1, 2)
    return np.concatenate([flat.min(0), flat.max(0)])


def fill(image: Image, polygon: Floats, colour: Colour) -> None:
    """Paint one convex polygon (K, 2) with soft edges; what lies outside the image is left out."""
    # A pixel's centre is at .5 for us and at 0 for OpenCV.
    points = np.round((polygon - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(image, points, colour, cv2.LINE_AA, _SHIFT)


def paint(image: Image, figure: Figure, pixels: Floats, light: Colour) -> None:
    """Paint a figure; `light` in [0, 1] by channel dims whatever does not shine by itself."""
    lit = np.where(figure.glow[:, None], figure.colours, figure.colours * floats(*light))
    points = np.round((pixels - 0.5) * (1 << _SHIFT)).astype(np.int32)
    for polygon, colour in zip(points, lit.tolist(), strict=True):
        cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_AA, _SHIFT)


def stamp(ids: npt.NDArray[np.uint8], pixels: Floats, number: int, shrink: int) -> None:
    """Write `number` where a figure covers the map, which is 1/`shrink` of the image's size."""
    points = np.round((pixels / shrink - 0.5) * (1 << _SHIFT)).astype(np.int32)
    for polygon in points:
        cv2.fillConvexPoly(ids, polygon, number, cv2.LINE_8, _SHIFT)

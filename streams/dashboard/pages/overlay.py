"""Zones and lines as they are drawn over a picture."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from streams.dashboard.pages.draft import Draft, Kind


def overlay(draft: Draft, width: int, height: int) -> str:
    """Draw a draft as SVG over a picture of so many pixels."""
    size = max(width, height)

    def scaled(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * width, y * height) for x, y in points]

    drawn = []
    kinds: tuple[Kind, ...] = ("zone", "line")
    for kind in kinds:
        for name, points in draft.shapes(kind).items():
            is_chosen = draft.chosen == (kind, name)
            drawn.append(_shape(kind, name, scaled(points), size, is_chosen=is_chosen))
    if draft.drawing is not None:
        begun = scaled(draft.points)
        drawn.append(f'<polyline class="shape chosen" points="{_listed(begun)}"/>')
        drawn += [_corner(at, size) for at in begun]
    return "".join(drawn)


def _shape(kind: Kind, name: str, points: Any, size: int, *, is_chosen: bool) -> str:
    tag = "polygon" if kind == "zone" else "polyline"
    chosen = " chosen" if is_chosen else ""
    shares = (0.85, 0.15) if kind == "line" else (1 / len(points),) * len(points)
    x, y = (
        sum(share * at for share, at in zip(shares, ats, strict=True))
        for ats in zip(*points, strict=True)
    )
    drawn = f'<{tag} class="shape {kind}{chosen}" points="{_listed(points)}"/>'
    if kind == "line":
        drawn += _right_side(points, size)
    drawn += _text(x, y, name, size)
    return drawn + "".join(_corner(at, size) for at in points if is_chosen)


def _right_side(points: Any, size: int) -> str:
    """A stroke from the middle of a line to its right-hand side, as seen from its first end."""
    (x1, y1), (x2, y2) = points
    length = max(((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5, 1e-9)
    across, down = -(y2 - y1) / length * size / 22, (x2 - x1) / length * size / 22
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    there = [(x, y), (x + across, y + down)]
    end = _text(x + 1.9 * across, y + 1.9 * down, "right", size)
    return f'<polyline class="shape line" points="{_listed(there)}"/>{end}'


def _text(x: float, y: float, text: str, size: int) -> str:
    return (
        f'<text class="shape-name" x="{x:.1f}" y="{y:.1f}" font-size="{size / 38:.1f}" '
        f'text-anchor="middle">{escape(text)}</text>'
    )


def _corner(at: tuple[float, float], size: int) -> str:
    return f'<circle class="corner" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{size / 110:.1f}"/>'


def _listed(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)

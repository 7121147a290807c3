"""Rules of a camera while they are drawn: every step can be taken back before they are saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from models.vision.rules_file import Cross, Rule
from streams.dashboard.rules.part import CameraRules

Kind = Literal["zone", "line"]
Points = tuple[tuple[float, float], ...]
"""Corners of a zone or ends of a line, in shares of the picture."""

NEAR: Final = 0.025
"""Of the picture: a press this near to a corner means it; fingers are no needles."""

_PLACES: Final[Mapping[Kind, str]] = {"zone": "zones", "line": "lines"}


class Draft:
    """What is to be saved, what is just being drawn, and what is chosen.

    Attributes:
        part: as it would be saved now.
        drawing: the kind of what is being drawn; None for nothing.
        points: of what is being drawn, or moved.
        chosen: kind and name of the shape that a press may change.
    """

    def __init__(self, part: CameraRules) -> None:
        self.part = self._saved = part
        self._steps: list[CameraRules] = []
        self.drawing: Kind | None = None
        self.points: list[tuple[float, float]] = []
        self.chosen: tuple[Kind, str] | None = None
        self._held: int | None = None

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        return self.part != self._saved

    def saved(self, sent: CameraRules, part: CameraRules) -> None:
        """Note that what was `sent` is saved, as `part`; what was changed since is still to be."""
        self._saved = part
        if self.part == sent:
            self.part, self._steps = part, []
            self.chosen = self._held = None

    def shapes(self, kind: Kind) -> Mapping[str, Points]:
        """Shapes by name."""
        found: Mapping[str, Points] = getattr(self.part, _PLACES[kind])
        return found

    # -- the pointer --------------------------------------------------------------------------
    def begin(self, kind: Kind) -> None:
        """Draw a shape: each press is a corner of it."""
        self.drawing, self.points, self.chosen, self._held = kind, [], None, None

    def press(self, x: float, y: float) -> None:
        """Add a corner to what is drawn; else take hold of a corner, or choose a shape."""
        at = _on_picture(x, y)
        if self.drawing is None:
            self._take_hold(at)
            return
        if self.drawing == "zone" and len(self.points) > 2 and _apart(at, self.points[0]) <= NEAR:
            self.finish()
            return
        if at not in self.points:
            self.points.append(at)
        if self.drawing == "line" and len(self.points) == 2:
            self.finish()

    def release(self, x: float, y: float) -> None:
        """Put the corner that is held down."""
        held, self._held = self._held, None
        if held is None or self.chosen is None:
            return
        kind, name = self.chosen
        points = list(self.shapes(kind)[name])
        if _apart(_on_picture(x, y), points[held]) > NEAR / 4:  # a click moves nothing
            points[held] = _on_picture(x, y)
            self.place(kind, name, points)

    def finish(self) -> bool:
        """Close the zone that is drawn; False where three corners are not there yet."""
        kind = self.drawing
        if kind is None or len(self.points) < (3 if kind == "zone" else 2):
            return False
        number = 1
        while f"{kind}-{number}" in self.shapes(kind):
            number += 1
        name = f"{kind}-{number}"
        points, self.drawing, self.points = self.points, None, []
        self.place(kind, name, points)
        self.chosen = kind, name
        return True

    def undo(self) -> None:
        """Take the last corner or the last change back."""
        if self.drawing is not None:
            if self.points:
                self.points.pop()
            else:
                self.drawing = None
        elif self._steps:
            self.part = self._steps.pop()
            self.chosen = None

    # -- shapes and rules -----------------------------------------------------------------------
    def place(self, kind: Kind, name: str, points: Sequence[tuple[float, float]]) -> None:
        """Put a shape where `points` are."""
        self._change(**{_PLACES[kind]: {**self.shapes(kind), name: tuple(points)}})

    def rename(self, kind: Kind, name: str, new: str) -> None:
        """Give a shape another name; the rules that name it follow.

        Raises:
            ValueError: another one has that name.
        """
        if new == name:
            return
        if new in self.shapes(kind):
            raise ValueError(f"there is a {kind} {new!r} already")
        shapes = {new if key == name else key: value for key, value in self.shapes(kind).items()}
        field = kind
        rules = tuple(
            msgspec.structs.replace(rule, **{field: new})
            if _shape_of(rule) == (kind, name)
            else rule
            for rule in self.part.rules
        )
        self._change(**{_PLACES[kind]: shapes, "rules": rules})
        self.chosen = kind, new

    def drop(self, kind: Kind, name: str) -> None:
        """Delete a shape, and the rules that are about it."""
        shapes = {key: value for key, value in self.shapes(kind).items() if key != name}
        rules = tuple(rule for rule in self.part.rules if _shape_of(rule) != (kind, name))
        self._change(**{_PLACES[kind]: shapes, "rules": rules})
        self.chosen = None

    def put_rule(self, name: str | None, rule: Rule) -> None:
        """Put a rule in the place of the one that is called `name`, or after all others.

        Raises:
            ValueError: another one has its name.
        """
        others = [one.name for one in self.part.rules if one.name != name]
        if rule.name in others:
            raise ValueError(f"there is a rule {rule.name!r} already")
        if name is None:
            self._change(rules=(*self.part.rules, rule))
        else:
            self._change(rules=tuple(rule if r.name == name else r for r in self.part.rules))

    def drop_rule(self, name: str) -> None:
        """Delete a rule."""
        self._change(rules=tuple(rule for rule in self.part.rules if rule.name != name))

    def _change(self, **fields: Any) -> None:
        after = msgspec.structs.replace(self.part, **fields)
        if after != self.part:
            self._steps.append(self.part)
            self.part = after

    def _take_hold(self, at: tuple[float, float]) -> None:
        corners = [
            (_apart(at, corner), place, kind, name)
            for kind in _PLACES
            for name, points in self.shapes(kind).items()
            for place, corner in enumerate(points)
        ]
        near = [found for found in corners if found[0] <= NEAR]
        mine = [found for found in near if found[2:] == self.chosen]
        if near:
            _, self._held, kind, name = min(mine or near)
            self.chosen = kind, name


def _shape_of(rule: Rule) -> tuple[Kind, str]:
    return ("line", rule.line) if isinstance(rule, Cross) else ("zone", rule.zone)


def _on_picture(x: float, y: float) -> tuple[float, float]:
    return round(min(max(x, 0.0), 1.0), 4), round(min(max(y, 0.0), 1.0), 4)


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return math.dist(a, b)

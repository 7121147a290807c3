"""What counts as something happening: rules over tracks, written in TOML.

::

    time_zone = "Europe/Berlin"

    [zones]                       # corners, in shares of the frame's width and height
    yard = [[0.1, 0.4], [0.9, 0.4], [0.9, 1.0], [0.1, 1.0]]

    [lines]                       # two ends; the right-hand side is as seen from the first
    gate = [[0.5, 0.0], [0.5, 1.0]]

    [[rule]]
    name = "yard-at-night"
    kind = "enter"                # or cross, loiter, count, left
    zone = "yard"
    cameras = ["north", "south"]
    classes = ["person"]
    min_confidence = 0.5
    schedule = { days = ["sat", "sun"], begin = 22:00:00, end = 06:00:00 }
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
import numpy as np

from models.errors import DataError
from models.vision.schedule import Schedule, zone_of
from models.vision.zones import Points

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Names = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)]
Point = tuple[Share, Share]
Corners = Annotated[tuple[Point, ...], msgspec.Meta(min_length=3, max_length=64)]
Severity = Literal["low", "medium", "high"]

MAX_RULES = 64  # bounds the state of a camera
MAX_FILE_BYTES = 1 << 20
_MIN_AREA = 1e-9  # of the frame, twice: less is a line


class _Rule(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="kind",
):
    """What every rule has."""

    name: Name
    classes: Names
    cameras: Names = ("*",)
    """Camera ids; ``*`` and ``?`` match any text and any character."""
    severity: Severity = "medium"
    schedule: Schedule = Schedule()
    min_confidence: Share = 0.0
    min_height: Share = 0.0
    """Smallest box, in shares of the frame's height."""
    cooldown_s: Seconds = 0.0
    """After something began, nothing else begins for this long, on one camera."""
    gone_s: Seconds = 2.0
    """It is over when it has not been seen for this long."""
    max_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 600.0
    """It is declared over after this long, and does not begin again while it lasts."""

    def holds_for(self, camera_id: str) -> bool:
        """Whether one of `cameras` is that camera."""
        return any(fnmatchcase(camera_id, pattern) for pattern in self.cameras)


class Enter(_Rule, frozen=True, kw_only=True, tag="enter"):
    """An object stands in a zone."""

    zone: str


class Cross(_Rule, frozen=True, kw_only=True, tag="cross"):
    """An object crosses a line; ``follow_s`` later, or when it is gone, that is over."""

    line: str
    direction: Literal["left", "right", "both"] = "both"
    follow_s: Seconds = 3.0


class Loiter(_Rule, frozen=True, kw_only=True, tag="loiter"):
    """An object stays in a zone for ``seconds``."""

    zone: str
    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class Count(_Rule, frozen=True, kw_only=True, tag="count"):
    """More than ``limit`` objects are in a zone, or in the picture, for ``seconds``."""

    limit: Annotated[int, msgspec.Meta(ge=0, le=10_000)]
    zone: str = ""
    seconds: Seconds = 1.0


class Left(_Rule, frozen=True, kw_only=True, tag="left"):
    """A still object has had nobody near it for ``seconds``."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    zone: str = ""
    owners: Names = ("person",)
    near: Annotated[float, msgspec.Meta(gt=0, le=100)] = 1.0
    """How near an owner must be, in heights of the owner."""


Rule = Enter | Cross | Loiter | Count | Left


class RulesFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rules file as it is written: each value by itself is in range, see `check_rules`."""

    rule: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=MAX_RULES)] = ()
    zones: dict[Name, Corners] = {}
    lines: dict[Name, tuple[Point, Point]] = {}
    time_zone: str = "UTC"


NOWHERE: Points = np.empty((0, 2))


class RuleBook(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of all cameras.

    Attributes:
        rules: in the order of the file.
        zones: (P, 2) corners by name.
        lines: (2, 2) ends by name.
        time_zone: of schedules that name none.
        class_names: of the detector, by class_id.
    """

    rules: tuple[Rule, ...] = ()
    zones: dict[str, Points] = {}
    lines: dict[str, Points] = {}
    time_zone: str = "UTC"
    class_names: tuple[str, ...] = ()

    def of_camera(self, camera_id: str) -> RuleBook:
        """Those that hold for one camera."""
        rules = tuple(rule for rule in self.rules if rule.holds_for(camera_id))
        return msgspec.structs.replace(self, rules=rules)

    def drawn(self, rule: Rule) -> tuple[str, Points]:
        """Name of the zone or line of a rule, and its corners or ends; empty where it has none."""
        if isinstance(rule, Cross):
            return rule.line, self.lines[rule.line]
        return rule.zone, self.zones.get(rule.zone, NOWHERE)

    def class_name(self, class_id: int) -> str:
        """Of an object; its number where the detector that saw it had more classes."""
        known = 0 <= class_id < len(self.class_names)
        return self.class_names[class_id] if known else f"class {class_id}"


def parse_rules(content: bytes, class_names: tuple[str, ...], where: str) -> RuleBook:
    """Read a rules file.

    Args:
        content: the file as it is.
        class_names: what the detector can see.
        where: the file's name, for messages.

    Raises:
        DataError: it is not TOML, a field is unknown, missing or out of range, two rules share a
            name, or a rule names a zone, line, class or time zone that does not exist.
    """
    return check_rules(read_rules(content, where), class_names, where)


def read_rules(content: bytes, where: str) -> RulesFile:
    """Read a rules file without a look at how its parts fit together.

    Raises:
        DataError: it is not TOML, or a field is unknown, missing or out of range.
    """
    if len(content) > MAX_FILE_BYTES:
        raise DataError(f"{where} has {len(content)} bytes, at most {MAX_FILE_BYTES} are read")
    try:
        return msgspec.toml.decode(content, type=RulesFile)
    except (msgspec.DecodeError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{where}: {str(error).splitlines()[0]}") from None


def check_rules(file: RulesFile, class_names: tuple[str, ...], where: str) -> RuleBook:
    """Make a book of a file whose parts fit together.

    Raises:
        DataError: two rules share a name, a zone has no area, a line no length, or a rule names a
            zone, line, class or time zone that does not exist.
    """
    _zone(file.time_zone, where)
    zones = {name: np.array(corners, np.float64) for name, corners in file.zones.items()}
    lines = {name: np.array(ends, np.float64) for name, ends in file.lines.items()}
    for name, corners in zones.items():
        x, y = corners.T
        if abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) < _MIN_AREA:
            raise DataError(f"{where}: zone {name!r} has no area: list its corners in order")
    for name, ends in lines.items():
        if (ends[0] == ends[1]).all():
            raise DataError(f"{where}: line {name!r} ends where it begins")
    seen: set[str] = set()
    for rule in file.rule:
        if rule.name in seen:
            raise DataError(f"{where}: two rules are named {rule.name!r}")
        seen.add(rule.name)
        _check(rule, zones, lines, class_names, f"{where}: rule {rule.name!r}")
    return RuleBook(
        rules=file.rule,
        zones=zones,
        lines=lines,
        time_zone=file.time_zone,
        class_names=class_names,
    )


def _check(
    rule: Rule,
    zones: dict[str, Points],
    lines: dict[str, Points],
    class_names: tuple[str, ...],
    where: str,
) -> None:
    """Whether everything that a rule names is there."""
    if isinstance(rule, Cross):
        _known("line", rule.line, tuple(lines), where)
    elif rule.zone or isinstance(rule, Enter | Loiter):
        _known("zone", rule.zone, tuple(zones), where)
    owners = rule.owners if isinstance(rule, Left) else ()
    for name in (*rule.classes, *owners):
        _known("class", name, class_names, where)
    if rule.schedule.time_zone:
        _zone(rule.schedule.time_zone, where)


def _zone(name: str, where: str) -> None:
    try:
        zone_of(name)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _known(kind: str, name: str, names: tuple[str, ...], where: str) -> None:
    if name not in names:
        shown = ", ".join(sorted(names)[:10]) + (", ..." if len(names) > 10 else "")
        raise DataError(f"{where} names the {kind} {name!r}; there is: {shown or 'none'}")

"""One rule as a form: the fields that its kind has in the rules file."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, get_args

import msgspec
from nicegui import ui

from models.vision.rules_file import Count, Cross, Enter, Left, Loiter, Name, Rule, Severity
from models.vision.schedule import DAYS, Schedule
from streams.dashboard.pages.dialog import buttons, dialog
from streams.dashboard.rules.part import CameraRules

KINDS: Final[dict[str, tuple[type[Rule], str]]] = {
    "enter": (Enter, "Something enters a zone"),
    "cross": (Cross, "Something crosses a line"),
    "loiter": (Loiter, "Something stays in a zone"),
    "count": (Count, "There are too many"),
    "left": (Left, "Something is left behind"),
}

_ENDINGS: Final = {
    "enter": "entered",
    "cross": "crossed",
    "loiter": "stayed",
    "count": "crowded",
    "left": "left-behind",
}
_NAME: Final = get_args(Name)[1].pattern
_NAMES: Final = "1 to 64 letters from A to Z, digits, dots, dashes and underscores"

_NUMBERS: Final = {
    "limit": "Most of them",
    "seconds": "For so long (s)",
    "min_confidence": "Least confidence (0 to 1)",
    "min_height": "Least height (share of the picture)",
    "cooldown_s": "Nothing new for (s)",
    "gone_s": "Over when unseen for (s)",
    "max_s": "Over at the latest after (s)",
    "follow_s": "Over after the crossing by (s)",
    "near": "Near is within (heights of an owner)",
}
_FIRST: Final = ("zone", "line", "limit", "seconds", "direction", "severity", "min_confidence")


class RuleForm:
    """Asks for a rule; `done` takes the name that it had, None for a new one, and what it is now.

    `done` raises ValueError with the reason where it does not take the rule.
    """

    def __init__(
        self,
        camera: str,
        classes: Sequence[str],
        part: CameraRules,
        done: Callable[[str | None, Rule], None],
    ) -> None:
        self._camera, self._classes, self._part, self._done = camera, list(classes), part, done
        self._given: dict[str, Any] = {}
        self._fields: dict[str, Any] = {}
        self._suggested, self._is_known = "", False

    def ask(self, rule: Rule | None, **given: Any) -> None:
        """Open the form, with a rule in it or with what is `given` of a new one."""
        before = None if rule is None else rule.name
        self._is_known = rule is not None
        self._given = {"kind": "enter", "name": "", "cameras": (self._camera,), **given}
        if rule is not None:
            self._given = {**msgspec.structs.asdict(rule), "kind": type(rule).__name__.lower()}
        with dialog("Rule" if rule is not None else "New rule") as opened:
            self._suggested = self._given["name"]
            self._name = ui.input("Name", value=self._suggested).props("outlined dense")
            self._name.props["hint"] = _NAMES
            kinds = {name: text for name, (_, text) in KINDS.items()}
            self._kind = ui.select(kinds, value=self._given["kind"], label="When").props(
                "outlined dense"
            )
            self._rest = ui.column().classes("body")
            self._kind.on_value_change(self._draw)
            self._draw()
            self._wrong = ui.label("").classes("wrong").props('role="alert"')

            def send() -> None:
                try:
                    self._done(before, self._rule())
                except (msgspec.ValidationError, ValueError) as error:
                    self._wrong.set_text(str(error))
                else:
                    opened.close()

            buttons(opened, "Take it", send)

    def _draw(self) -> None:
        """Draw the fields of the kind that is chosen."""
        kind, _ = KINDS[self._kind.value]
        fields = {one.name: one for one in msgspec.structs.fields(kind)}
        self._rest.clear()
        self._fields = {}
        with self._rest:
            self._several("classes", "Who or what")
            for name in sorted(fields, key=lambda name: (name not in _FIRST, name != "zone")):
                if name in _FIRST:
                    self._field(name, fields[name])
            with ui.expansion("More").classes("more"):
                for name, field in fields.items():
                    if name not in {*_FIRST, "name", "classes", "schedule"}:
                        self._field(name, field)
                self._schedule()
        self._suggest()

    def _suggest(self) -> None:
        """Name a new rule after its place and kind, as long as nobody has named it."""
        if self._name.value != self._suggested or self._is_known:
            return
        places = [self._fields[name].value for name in ("zone", "line") if name in self._fields]
        taken = {rule.name for rule in self._part.rules}
        place = next(filter(None, places), self._camera)
        self._suggested = suggested_name(place, self._kind.value, taken)
        self._name.set_value(self._suggested)

    def _field(self, name: str, field: Any) -> None:
        default = None if field.default is msgspec.NODEFAULT else field.default
        value = self._given.get(name, default)
        if name in {"zone", "line"}:
            shapes = self._part.zones if name == "zone" else self._part.lines
            names = [*([""] if default == "" else []), *shapes]
            options = {one: one or "the whole picture" for one in names}
            value = value if value in options else next(iter(options), None)
            made: Any = ui.select(options, value=value, label=name.capitalize())
            made.on_value_change(self._suggest)
        elif name == "owners":
            self._several(name, "Whose it is", value)
            return
        elif name == "cameras":
            made = ui.input("Cameras (* and ? match any, spaces between)")
            made.set_value(" ".join(value or ()))
        elif name in {"severity", "direction"}:
            choices = get_args(Severity) if name == "severity" else ("left", "right", "both")
            made = ui.select(list(choices), value=value, label=name.capitalize())
        else:
            made = ui.number(_NUMBERS[name], value=value)
        self._fields[name] = made.props("outlined dense")

    def _several(self, name: str, label: str, value: Any = None) -> None:
        chosen = [one for one in value or self._given.get(name, ()) if one in self._classes]
        made = ui.select(self._classes, value=chosen, multiple=True, label=label, with_input=True)
        self._fields[name] = made.props("outlined dense use-chips")

    def _schedule(self) -> None:
        """Ask on which days and from when to when; the same time twice is the whole day."""
        known: Schedule = self._given.get("schedule", Schedule())
        self._days = ui.select(list(DAYS), value=list(known.days), multiple=True, label="Days")
        self._days.props("outlined dense use-chips")
        with ui.row().classes("times"):
            self._times = {
                name: ui.input(label, value=at.strftime("%H:%M")).props("outlined dense type=time")
                for name, label, at in (
                    ("begin", "From", known.begin),
                    ("end", "To", known.end),
                )
            }
        self._zone = ui.input("Time zone (empty: that of the file)", value=known.time_zone)
        self._zone.props("outlined dense")

    def _rule(self) -> Rule:
        """Read the form.

        Raises:
            msgspec.ValidationError: a value is missing or out of range.
            ValueError: the name is none, or nothing is chosen that it is about.
        """
        found: dict[str, Any] = {
            "name": checked_name(self._name.value),
            "kind": self._kind.value,
        }
        if not self._fields["classes"].value:
            raise ValueError("Choose who or what it is about")
        for name, field in self._fields.items():
            value = field.value
            if name == "cameras":
                value = value.split()
            if name == "limit" and value is not None:
                value = round(value)
            if value is not None:
                found[name] = value
        found["schedule"] = {
            "days": [day for day in DAYS if day in self._days.value],
            "time_zone": self._zone.value.strip(),
            **{name: f"{at.value or '00:00'}:00" for name, at in self._times.items()},
        }
        rule: Rule = msgspec.convert(found, Rule)
        return rule


def checked_name(text: str) -> str:
    """Take the name of a rule, zone or line as somebody wrote it.

    Raises:
        ValueError: the rules file takes no such name.
    """
    name = text.strip()
    if not re.fullmatch(_NAME, name):
        raise ValueError(f"A name is {_NAMES}: not {name!r}")
    return name


def suggested_name(place: str, kind: str, taken: Collection[str]) -> str:
    """Make a name for a rule of a kind about a place (a zone, a line or a camera)."""
    stem = f"{re.sub('[^A-Za-z0-9_.-]+', '-', place)[:48]}-{_ENDINGS[kind]}"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name

"""One camera's part of the rules file: what is shown, changed and put back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from models.errors import DataError
from models.vision.rules_file import MAX_RULES, Corners, Cross, Name, Point, Rule, RulesFile


class CameraRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rules that hold for a camera, and the zones and lines that are its to change.

    Those are all that its rules name, and those that no rule names. Values are as in the rules
    file: corners and ends in shares of the frame, (0, 0) its top left.
    """

    rules: Annotated[tuple[Rule, ...], msgspec.Meta(max_length=MAX_RULES)] = ()
    zones: dict[Name, Corners] = {}
    lines: dict[Name, tuple[Point, Point]] = {}


def part_of(file: RulesFile, camera: str) -> CameraRules:
    """Take a camera's part out of a file."""
    mine = tuple(rule for rule in file.rule if rule.holds_for(camera))
    of_others = names_of(rule for rule in file.rule if not rule.holds_for(camera)) - names_of(mine)
    return CameraRules(
        rules=mine,
        zones={name: zone for name, zone in file.zones.items() if name not in of_others},
        lines={name: line for name, line in file.lines.items() if name not in of_others},
    )


def with_part(file: RulesFile, camera: str, part: CameraRules) -> RulesFile:
    """Put a camera's part in the place of the one that the file has; the rest stays.

    Rules keep their place, new ones come last.

    Raises:
        DataError: a rule is not for this camera, or a zone or line has the name of another
            camera's.
    """
    before = part_of(file, camera)
    wanted = {rule.name: rule for rule in part.rules}
    if len(wanted) < len(part.rules):
        raise DataError("two rules have the same name")
    for rule in part.rules:
        if not rule.holds_for(camera):
            raise DataError(
                f"rule {rule.name!r} is for {', '.join(rule.cameras)}: name {camera!r} too"
            )
    for kind, new, all_of, own in (
        ("zone", part.zones, file.zones, before.zones),
        ("line", part.lines, file.lines, before.lines),
    ):
        if taken := [name for name in new if name in all_of and name not in own]:
            raise DataError(f"the {kind} {taken[0]!r} is another camera's: take another name")
    kept = [wanted.pop(rule.name, None) if rule.holds_for(camera) else rule for rule in file.rule]
    # What is left is new, also under the name of another camera's rule: `check_rules` finds that.
    rules = (*(rule for rule in kept if rule is not None), *wanted.values())
    if len(rules) > MAX_RULES:
        raise DataError(f"there would be {len(rules)} rules, at most {MAX_RULES} are read")
    return msgspec.structs.replace(
        file,
        rule=rules,
        zones={**_without(file.zones, before.zones), **part.zones},
        lines={**_without(file.lines, before.lines), **part.lines},
    )


def names_of(rules: Iterable[Rule]) -> set[str]:
    """Name the zones and lines that rules name."""
    named = {rule.line if isinstance(rule, Cross) else rule.zone for rule in rules}
    return named - {""}


def told(before: RulesFile, after: RulesFile) -> str:
    """Say in words what differs between two files; empty for nothing."""
    words = []
    for kind, old, new in (
        ("zone", before.zones, after.zones),
        ("line", before.lines, after.lines),
        ("rule", {r.name: r for r in before.rule}, {r.name: r for r in after.rule}),
    ):
        for word, names in (
            ("added", [name for name in new if name not in old]),
            ("changed", [name for name in new if name in old and new[name] != old[name]]),
            ("deleted", [name for name in old if name not in new]),
        ):
            if names:
                words.append(f"{word} {kind} {', '.join(names)}")
    return "; ".join(words)


def _without(held: Mapping[str, Any], gone: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in held.items() if name not in gone}

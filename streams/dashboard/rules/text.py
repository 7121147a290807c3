"""A changed rules file as text: what did not change keeps its comments, order and layout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from typing import Any, Final

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT

from models.errors import DataError
from models.vision.rules_file import Rule, RulesFile, read_rules


def rewritten(content: bytes, before: RulesFile, after: RulesFile) -> bytes:
    """Change the text of a file that reads as `before` so that it reads as `after`.

    1. Zones and lines that differ. 2. Rules that differ, by name. 3. The text is read again: what
    does not say exactly `after` is not given.

    Raises:
        DataError: the file is laid out in a way that this cannot change.
    """
    try:
        document = tomlkit.parse(content.decode())
        # 1.
        for section in ("zones", "lines"):
            _place(document, section, getattr(before, section), getattr(after, section))
        # 2.
        _rules(document, before.rule, after.rule)
        made = tomlkit.dumps(document).encode()
        # 3.
        sound = read_rules(made, "the changed rules") == after
    except (TOMLKitError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{_LAYOUT}: {error}") from error
    if not sound:
        raise DataError(_LAYOUT)
    return made


_LAYOUT: Final = "the rules file is laid out so that it can be changed by hand alone"


def _place(
    document: Any, section: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    for name in before.keys() - after.keys():
        del document[section][name]
    for name, points in after.items():
        if before.get(name) == points:
            continue
        if section not in document:
            document[section] = tomlkit.table()
        document[section][name] = [list(point) for point in points]


def _rules(document: Any, before: tuple[Rule, ...], after: tuple[Rule, ...]) -> None:
    old, new = ({rule.name: rule for rule in rules} for rules in (before, after))
    if "rule" not in document:
        if not new:
            return
        document["rule"] = tomlkit.aot()
    tables = document["rule"]
    for place in reversed(range(len(tables))):
        name = str(tables[place]["name"])
        if name not in new:
            del tables[place]
        elif new[name] != old[name]:
            _change(tables[place], _fields(old[name]), _fields(new[name]))
    for name, rule in new.items():
        if name not in old:
            table = tomlkit.table() if isinstance(tables, AoT) else tomlkit.inline_table()
            _change(table, {}, _fields(rule))
            tables.append(table)


def _change(table: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for key in [key for key in table if key not in after and key in before]:
        del table[key]
    for key, value in after.items():
        if key in table and before.get(key) == value:
            continue
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            table[key] = inline
        else:
            table[key] = value


def _fields(rule: Rule) -> dict[str, Any]:
    """What a rule says beyond the defaults, its name and kind first."""
    found: dict[str, Any] = msgspec.to_builtins(rule, builtin_types=(time,))
    return {key: found[key] for key in sorted(found, key=lambda key: key not in {"name", "kind"})}

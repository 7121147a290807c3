"""Tables of Markdown, and what a JSON Schema asks of a value in a few words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]

_NAMES: Final = {
    "boolean": "true or false",
    "integer": "whole number",
    "object": "table",
    "string": "text",
}
_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999: what is at most that is a time."""

_FORMATS: Final = dict(zip(("path", "password"), ("file", "secret"), strict=True))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Write a table, preceded by an empty line; a bar within a cell stays one."""
    lines = ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = (" ".join(cell.split()).replace("|", "\\|") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def kind(schema: Schema) -> str:
    """Say what a value may be: ``number, above 0``, ``text or null``, a link to another schema."""
    match schema:
        case {"$ref": str(ref)}:
            name = ref.rpartition("/")[2]
            said = f"[{name}](#{name.lower()})"
        case {"anyOf": ones} | {"oneOf": ones}:
            said = _either(map(kind, ones))
        case {"enum": values}:
            said = _either(map(literal, values))
        case {"const": value}:
            said = literal(value)
        case {"type": [*kinds]}:
            said = _either(kind({**schema, "type": one}) for one in kinds)
        case {"maximum": most} if most == _LAST_MS:
            said = "time in ms"
        case {"prefixItems": [item, *_]} | {"items": item}:
            said = f"list of {kind(item)}"
        case {"additionalProperties": dict(values)} if values:
            said = f"table of {kind(values)}"
        case _:
            of = str(schema.get("type", "anything"))
            named = _FORMATS.get(schema.get("format", "")) or _NAMES.get(of, of)
            said = ", ".join([named, *_bounds(schema)])
    return said


def literal(value: Any) -> str:
    """Write a value as JSON, and so as TOML too."""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def fields(schema: Schema, *, name: str = "field") -> list[str]:
    """Write the fields of an object as a table: name, what it may be, what it is if left out."""
    needed = schema.get("required", ())
    rows = []
    for field, of in schema.get("properties", {}).items():
        default = "required" if field in needed else literal(of.get("default"))
        rows.append((f"`{field}`", kind(of), default))
    return table((name, "is", "if left out"), rows)


def _either(kinds: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(kinds))


def _bounds(schema: Schema) -> list[str]:
    found = []
    for least, most, unit in (
        (schema.get("minimum"), schema.get("maximum"), ""),
        (schema.get("minLength"), schema.get("maxLength"), " characters"),
    ):
        if least is not None and most is not None:
            found.append(f"{least} to {most}{unit}" if least != most else f"{least}{unit}")
        elif least is not None:
            found.append(f"{least}{unit} or more")
        elif most is not None:
            found.append(f"at most {most}{unit}")
    if "exclusiveMinimum" in schema:
        found.append(f"above {schema['exclusiveMinimum']}")
    if "exclusiveMaximum" in schema:
        found.append(f"below {schema['exclusiveMaximum']}")
    return found

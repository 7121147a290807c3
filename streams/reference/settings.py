"""The page of every setting, made from the settings' own classes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from streams.reference.fields import kind, literal, table
from streams.settings import Settings, agents, outlets, process, section, servers, variable_of

_MODULES: Final = (section, servers, agents, outlets, process)

_INTRODUCTION = """\
# Settings

Every setting, with the environment variable that sets it, what it may be, and what it is by
default. `tocsin config show` prints what they come to. The first of these that names a setting
counts:

1. `--set SECTION.NAME=VALUE` on the command line, but for passwords;
2. the environment variable;
3. in the directory that `TOCSIN_SECRETS_DIR` names, a file of the variable's name;
4. `tocsin.toml` in the working directory, or the file that `--config` or `TOCSIN_CONFIG` names,
   which has a table for each section.

Lists and tables are JSON in the environment. A name that is not here is refused, with its place."""


def settings_page() -> str:
    """Write down every setting."""
    schema = Settings.model_json_schema()
    told = {name: text for module in _MODULES for name, text in _docstrings(module).items()}
    lines = [_INTRODUCTION]
    for name, of in schema["properties"].items():
        lines += _section(name, _named(of), schema["$defs"], told)
    return "\n".join(lines) + "\n"


def _section(
    section: str, name: str, classes: dict[str, Any], told: dict[tuple[str, str], str]
) -> Iterator[str]:
    """Yield a section's table, and then those of the tables within it that users name."""
    yield from ("", f"## {section}", "", _plain(classes[name]["description"]))
    yield from table(("setting", "is", "by default", ""), _rows(section, name, classes, told))
    for field, of in classes[name]["properties"].items():
        inner = _named(of.get("additionalProperties"))
        if inner:
            path = f"{section}.{field}.NAME"
            yield from ("", f"### {path}", "", _plain(classes[inner]["description"]))
            yield from table(("setting", "is", "by default", ""), _rows(path, inner, classes, told))


def _rows(
    path: str, name: str, classes: dict[str, Any], told: dict[tuple[str, str], str]
) -> Iterator[tuple[str, str, str, str]]:
    for field, of in classes[name]["properties"].items():
        place = f"{path}.{field}"
        if _named(of):
            yield from _rows(place, _named(of), classes, told)
            continue
        default = "required" if field in classes[name].get("required", ()) else _default(of)
        text = next(text for owner, text in _owners(name, field, told) if owner)
        values = _named(of.get("additionalProperties"))
        is_ = "table, by name (below)" if values else kind(of).replace(" or null", "")
        variable = "" if "NAME" in place else f"<br>`{_variable(place)}`"
        yield f"`{place}`{variable}", is_, default, text


def _owners(name: str, field: str, told: dict[tuple[str, str], str]) -> Iterator[tuple[str, str]]:
    """Yield who says what a field is, its class before the classes that that inherits from."""
    for owner in next(vars(one)[name] for one in _MODULES if name in vars(one)).__mro__:
        if (owner.__name__, field) in told:
            yield owner.__name__, told[owner.__name__, field]
    yield name, ""


def _default(of: dict[str, Any]) -> str:
    value = of.get("default")
    return "unset" if value is None or value in ("", [], {}) else literal(value)


def _variable(place: str) -> str:
    section, name, *inner = place.split(".")
    return "__".join([variable_of(f"{section}.{name}"), *inner]).upper()


def _named(of: Any) -> str:
    """Name the class that a schema refers to; empty where it refers to none."""
    return str(of.get("$ref", "")).rpartition("/")[2] if isinstance(of, dict) else ""


def _docstrings(module: ModuleType) -> dict[tuple[str, str], str]:
    """Read what stands under each field, by class and field: Python itself throws that away."""
    found = {}
    for owner in ast.parse(inspect.getsource(module)).body:
        if not isinstance(owner, ast.ClassDef):
            continue
        for field, text in zip(owner.body, owner.body[1:], strict=False):
            match field, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(said))),
                ):
                    found[owner.name, name] = _plain(said)
    return found


def _plain(text: str) -> str:
    """Write a docstring's literals as Markdown does."""
    return text.replace("``", "`")

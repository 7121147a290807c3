"""docker-compose.yml as the tests read it: interpolated, one service at a time.

Also with docker-compose.secure.yml over it, merged as Compose does: maps by key, lists one after
the other, but for commands, and ``!reset`` takes away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.conftest import ROOT

FILE = ROOT / "docker-compose.yml"
SECURE = ROOT / "docker-compose.secure.yml"
DOCKERFILE = ROOT / "ops" / "docker" / "Dockerfile"
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")


RESET = object()


class Loader(yaml.SafeLoader):
    """Knows Compose's own tag."""


Loader.add_constructor("!reset", lambda *_: RESET)


def variables() -> dict[str, str]:
    """Variables of the files with their defaults."""
    found: dict[str, str] = {}
    for match in VARIABLE.finditer(FILE.read_text() + SECURE.read_text()):
        if match["name"]:
            assert match["default"] is not None, f"{match['name']} has no default"
            assert found.setdefault(match["name"], match["default"]) == match["default"]
    return found


def services(*, secure: bool = False, **values: str) -> dict[str, dict[str, Any]]:
    """Services by name, with `values` in the place of variables."""

    def filled(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: filled(value) for key, value in node.items()}
        if isinstance(node, list):
            return [filled(value) for value in node]
        if not isinstance(node, str):
            return node
        return VARIABLE.sub(
            lambda found: "$" if not found["name"] else values.get(found["name"], found["default"]),
            node,
        )

    found: Any = yaml.load(FILE.read_text(), Loader)["services"]
    if secure:
        found = merged(found, yaml.load(SECURE.read_text(), Loader)["services"])
    result: dict[str, dict[str, Any]] = filled(found)
    return result


def merged(base: Any, over: Any, key: str = "") -> Any:
    """What Compose makes of a value of two files."""
    if isinstance(base, dict) and isinstance(over, dict):
        both = {
            name: merged(base[name], over[name], name)
            if name in base and name in over
            else over.get(name, base.get(name))
            for name in [*base, *(name for name in over if name not in base)]
        }
        return {name: value for name, value in both.items() if value is not RESET}
    if (
        isinstance(base, list)
        and isinstance(over, list)
        and key not in {"command", "entrypoint", "test"}
    ):
        return [*base, *over]
    return over


def is_ours(service: Mapping[str, Any]) -> bool:
    """Whether the service runs our image, so a `tocsin` command."""
    return str(service["image"]).startswith("tocsin:")


def image_healthcheck() -> list[str]:
    """The command by which the image asks a worker how it is."""
    text = DOCKERFILE.read_text().replace("\\\n", "")
    checks = set(re.findall(r"^HEALTHCHECK .* CMD \[(.*)\]$", text, re.MULTILINE))
    (check,) = checks  # the same in every target
    return [str(word) for word in yaml.safe_load(f"[{check}]")]

"""docker-compose.yml as the tests read it: interpolated, one service at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tests.conftest import ROOT

FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "ops" / "docker" / "Dockerfile"
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")


def variables() -> dict[str, str]:
    """Variables of the file with their defaults."""
    found: dict[str, str] = {}
    for match in VARIABLE.finditer(FILE.read_text()):
        if match["name"]:
            assert match["default"] is not None, f"{match['name']} has no default"
            assert found.setdefault(match["name"], match["default"]) == match["default"]
    return found


def services(**values: str) -> dict[str, dict[str, Any]]:
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

    found: dict[str, dict[str, Any]] = filled(yaml.safe_load(FILE.read_text())["services"])
    return found


def is_ours(service: Mapping[str, Any]) -> bool:
    """Whether the service runs our image, so a `tocsin` command."""
    return str(service["image"]).startswith("tocsin:")


def image_healthcheck() -> list[str]:
    """The command by which the image asks a worker how it is."""
    text = DOCKERFILE.read_text().replace("\\\n", "")
    checks = set(re.findall(r"^HEALTHCHECK .* CMD \[(.*)\]$", text, re.MULTILINE))
    (check,) = checks  # the same in every target
    return [str(word) for word in yaml.safe_load(f"[{check}]")]

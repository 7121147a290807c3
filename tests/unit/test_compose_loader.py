"""What Compose's own loader makes of the stack's files is what the tests here take them for.

Where it is: `go install github.com/compose-spec/compose-go/v2/cmd@v2.16.2`, and its path in
TOCSIN_COMPOSE_LOADER.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.compose import FILE, SECURE, services

UNITS = {"s": 1, "m": 60, "h": 3600}
DURATIONS = {"interval", "timeout", "start_period", "stop_grace_period"}
MADE_UP = {"placement", "networks", "create_host_path"}
"""What the loader adds without being asked."""


def seconds(text: str) -> int:
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smh])", text))


def mount(short: str) -> dict[str, Any]:
    source, target, *mode = short.split(":")
    kind = "bind" if source.startswith((".", "/")) else "volume"
    found = {"type": kind, "source": source, "target": target}
    return {**found, "read_only": True} if mode == ["ro"] else found


def long(key: str, value: Any) -> Any:
    """An option in one form, whichever of Compose's forms it has."""
    if value is None:
        return None
    if key == "environment" and isinstance(value, list):
        value = dict(entry.split("=", 1) for entry in value)
    if key == "volumes":
        value = [mount(one) if isinstance(one, str) else one for one in value]
    if key == "ports":
        value = [
            one if isinstance(one, str) else f"{one['host_ip']}:{one['published']}:{one['target']}"
            for one in value
        ]
    if key == "devices" and "target" in value[0]:
        value = [f"{one['source']}:{one['target']}" for one in value]
    if key == "cpus":
        value = float(value)
    if key in DURATIONS:
        value = seconds(value)
    if key == "depends_on":
        value = {name: {"condition": wait["condition"]} for name, wait in value.items()}
    if isinstance(value, dict):
        found = {name: long(name, one) for name, one in value.items() if name not in MADE_UP}
        return {name: one for name, one in found.items() if one not in ({}, None)}
    return [long("", one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "secured"])
def test_the_official_loader_takes_the_stack_for_what_we_do(secure: bool) -> None:
    loader = os.environ.get("TOCSIN_COMPOSE_LOADER")
    if not loader:
        pytest.skip("TOCSIN_COMPOSE_LOADER names no program")
    files = [str(FILE), *([str(SECURE)] if secure else [])]
    done = subprocess.run(
        [loader, "--format", "json", "--no-normalization", "--no-path-resolution", *files],
        env={"PATH": os.environ["PATH"]},
        cwd=Path(FILE).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs, ours = json.loads(done.stdout)["services"], services(secure=secure)
    assert theirs.keys() == ours.keys()
    for name, service in ours.items():
        assert long("", theirs[name]) == long("", service), name

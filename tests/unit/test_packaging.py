"""What the repository must hold as a package: locks, version, type markers, no foreign paths."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "requirements-demo.lock"]
REQUIREMENT = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)", re.MULTILINE)

# Spelled in pieces, or this file would be the one that it finds.
PLACES_OF_ONE_MACHINE = ["/" + "work/", "/" + "root/"]
DATA_BESIDE_THE_CHECKOUT = "../" + "shared"


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def requirements(lock: str) -> set[tuple[str, str]]:
    """Names and versions; one name has several versions where they differ by platform or Python."""
    return set(REQUIREMENT.findall((ROOT / lock).read_text()))


def names(lock: str) -> set[str]:
    return {name for name, _ in requirements(lock)}


def texts() -> list[tuple[str, str]]:
    """Path and text of every text file that is, or is about to be, committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if not path.is_file():
            continue  # deleted and not yet committed
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((name, content.decode(errors="replace")))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        assert "://" not in line
        assert " @ " not in line
        assert not line.startswith("-")  # an index, find-links or another file


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_of_a_lock_has_a_hash(lock: str) -> None:
    blocks = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
    assert len(blocks) == len(requirements(lock))
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_demo_lock_is_a_part_of_the_whole_lock() -> None:
    assert requirements("requirements-demo.lock") <= requirements("requirements.lock")
    assert "pytest" not in names("requirements-demo.lock")


def test_the_locks_hold_every_dependency_of_the_project() -> None:
    metadata = project()
    extras = metadata["optional-dependencies"]
    demo = {named(line) for line in metadata["dependencies"] + extras["demo"]}
    assert "tocsin" in demo  # with its extra `dashboard`
    demo |= {named(line) for line in extras["dashboard"]}
    assert demo - {"tocsin"} <= names("requirements-demo.lock")
    every = {named(line) for lines in extras.values() for line in lines}
    assert every - {"tocsin"} <= names("requirements.lock")


def named(requirement: str) -> str:
    return re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_the_installed_version_is_the_projects() -> None:
    try:
        installed = importlib.metadata.version("tocsin")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("tocsin is not installed, only on the path")
    assert installed == project()["version"]


@pytest.mark.parametrize("package", ["streams", "models"])
def test_a_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_the_licence_is_the_one_that_the_metadata_names() -> None:
    assert project()["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_no_file_names_a_place_of_one_machine() -> None:
    found = [
        (name, place) for name, text in texts() for place in PLACES_OF_ONE_MACHINE if place in text
    ]
    assert found == []


def test_only_the_ci_script_looks_for_data_beside_the_checkout() -> None:
    found = {name for name, text in texts() if DATA_BESIDE_THE_CHECKOUT in text}
    assert found <= {".ci/run"}


def test_no_file_is_larger_than_a_checkout_should_carry() -> None:
    assert texts()
    large = [name for name, text in texts() if len(text) > 1024 * 1024]
    assert large == []

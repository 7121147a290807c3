"""The stack of docker-compose.yml, running: what its services do, how they are watched and end.

The tests stand in the order of a day: the last one stops what the others use.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from streams.devstack import ServerMissing
from streams.reading import read_topic
from streams.settings import KafkaSettings, TopicSettings
from tests.composed import LOGIN, PASSWORD, WORKERS, Stack
from tests.conftest import ROOT, absent

pytestmark = pytest.mark.integration

DASHBOARDS = sorted((ROOT / "ops" / "grafana" / "dashboards").glob("*.json"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
COMMANDS = re.findall(r"^\$ (.*)$", RUNBOOK, re.MULTILINE)
ONLY_WHEN_STOPPED = "tocsin state rebuild fraud --yes"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from running(tmp_path_factory.mktemp("stack"), secure=False)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With docker-compose.secure.yml too."""
    yield from running(tmp_path_factory.mktemp("secured"), secure=True)


def running(folder: Path, *, secure: bool) -> Iterator[Stack]:
    try:
        with Stack(folder, secure=secure) as stack:
            yield stack
    except ServerMissing as missing:
        absent(str(missing), fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1")


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_every_service_does_its_part_as_written(stack: Stack) -> None:
    does_its_part(stack)


def does_its_part(stack: Stack) -> None:
    assert "differs" not in stack.log("topics").read_text()
    stack.until(
        lambda: re.search(r'tocsin_events_total{agent="fraud"} [1-9]', stack.metrics("fraud")),
        "payment that is scored",
    )
    stack.until(
        lambda: re.search(r'tocsin_frames_total{fate="detected"} [1-9]', stack.metrics("vision")),
        "frame that is looked at",
    )


def first_user(stack: Stack) -> tuple[str, str]:
    """Name and password of who was made."""
    told = stack.log("login").read_text()
    name, password = re.findall(r"as (\w+) with the password (\S+)$", told, re.MULTILINE)[0]
    return name, password


@pytest.mark.parametrize(
    ("kind", "figure"),
    [("object", "tocsin_live_judged_object_alerts"), ("fraud", "tocsin_live_judged_alerts")],
)
def test_a_verdict_by_the_page_is_counted(stack: Stack, kind: str, figure: str) -> None:
    name, password = first_user(stack)
    page = f"http://127.0.0.1:{stack.health['dashboard']}"
    with httpx.Client(base_url=page, timeout=60, headers={"origin": page}) as client:
        client.post("/login", data={"user": name, "password": password})
        csrf = client.get("/api/session").json()["csrf"]
        seen: list[dict[str, Any]] = []
        wanted = {"kind": kind, "limit": 1}
        stack.until(
            lambda: seen.extend(client.get("/api/alerts", params=wanted).json()["alerts"]) or seen,
            f"{kind} alert",
        )
        said = {"alerts": [seen[0]["id"]], "decision": "confirmed"}
        answer = client.post("/api/verdicts", json=said, headers={"x-csrf-token": csrf})
        assert answer.status_code == 200, answer.text
    counted = re.compile(rf"^{figure}\{{.*\}} [1-9]", re.MULTILINE)
    stack.until(lambda: counted.search(stack.metrics("labels")), "figure of it")


def test_the_log_of_login_says_who_may_come_in_and_once(stack: Stack) -> None:
    name, password = first_user(stack)
    page = f"http://127.0.0.1:{stack.health['dashboard']}"
    with httpx.Client(base_url=page, timeout=60, headers={"origin": page}) as client:
        assert client.get("/api/alerts").status_code == 401
        refused = client.post("/login", data={"user": name, "password": "another one"})
        let_in = client.post("/login", data={"user": name, "password": password})
        assert (refused.status_code, let_in.status_code) == (401, 303)
        assert client.get("/api/alerts").status_code == 200
    file = stack.folder / "dashboard" / "tocsin.toml"
    before = file.read_bytes()
    assert password.encode() not in before
    stack.once("login")
    assert file.read_bytes() == before
    assert password not in stack.log("login").read_text()


def test_no_password_is_in_a_process_list_or_a_log(stack: Stack) -> None:
    shows_none(stack, {PASSWORD})


def shows_none(stack: Stack, passwords: set[str]) -> None:
    assert "redis-server" in command_line(stack.redis.pid)
    pids = [stack.redis.pid, stack.exporter.pid, *(run.pid for run in stack.processes.values())]
    running = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert len(running) > len(WORKERS)
    shown = [command_line(pid) for pid in running]
    shown += [stack.log(name).read_text() for name in stack.processes]
    assert not [password for password in passwords if any(password in text for text in shown)]


def test_every_rule_is_evaluated_on_metrics_that_are_there(stack: Stack) -> None:
    known = set(stack.prometheus.ask("metadata"))
    stack.until(
        lambda: (
            known.update(stack.prometheus.ask("metadata")) or {"redis_up", "tocsin_ready"} <= known
        ),
        "scrape",
    )
    stack.until(
        lambda: known.update(stack.prometheus.ask("metadata")) or "tocsin_camera_up" in known,
        "scrape of the cameras",
    )
    rules = [rule for group in stack.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    for rule in rules:
        assert rule["health"] != "err", rule
        for name in re.findall(r"\b(?:tocsin|redis)_\w+", rule["query"]):
            assert name.removesuffix("_bucket").removesuffix("_count") in known
    assert len(rules) > 20


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_diagram_has_something_to_show(stack: Stack, path: Path) -> None:
    panels = json.loads(path.read_text())["panels"]
    queries = {target["expr"] for panel in panels for target in panel["targets"]}
    empty = {query.replace("$__rate_interval", "1m") for query in queries}

    def filled() -> bool:
        for query in list(empty):
            if stack.prometheus.ask("query", query=query)["result"]:
                empty.remove(query)
        return not empty

    stack.until(filled, f"data for {empty}")


def test_the_page_of_alarms_is_quiet_and_names_the_runbook(stack: Stack) -> None:
    for group in stack.prometheus.ask("rules", type="alert")["groups"]:
        for rule in group["rules"]:
            slow = group["name"] == "tocsin-latency"  # as this machine may be
            assert slow or rule["state"] != "firing", rule
            assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['name'].lower()}"


@pytest.mark.parametrize("line", sorted(set(COMMANDS) - {ONLY_WHEN_STOPPED}))
def test_a_command_of_the_runbook_runs(stack: Stack, line: str) -> None:
    done = stack.shell(line)
    assert done.returncode == 0, done.stderr
    assert "ERR" not in done.stdout
    if line == "tocsin status":
        assert re.findall(r"^http://\S+ +(.*?) *$", done.stdout, re.MULTILINE) == ["ready"] * 3


def test_every_process_ends_as_it_is_asked_to(stack: Stack) -> None:
    assert stack.stop("payments") == stack.stop("street") == 130
    assert [stack.stop(name) for name in WORKERS] == [0, 0, 0]
    assert ONLY_WHEN_STOPPED in COMMANDS
    done = stack.shell(ONLY_WHEN_STOPPED)
    assert done.returncode == 0, done.stderr


def test_a_camera_on_the_network_comes_to_kafka_and_its_password_to_nobody(stack: Stack) -> None:
    stack.start("camera")  # last, because the network of the stack knows the simulated street alone
    kafka = KafkaSettings(bootstrap_servers=stack.place.here("kafka:9092"))

    def sent() -> bool:
        frames = asyncio.run(keys(kafka, TopicSettings().frames))
        return b"gate" in frames

    stack.until(sent, "frame of the camera")
    assert LOGIN not in command_line(stack.processes["camera"].pid)
    assert stack.stop("camera") == 130
    assert LOGIN not in stack.log("camera").read_text()


async def keys(kafka: KafkaSettings, topic: str) -> set[bytes | None]:
    batches = read_topic(kafka, topic, from_beginning=True, follow=False)
    return {record.key async for records in batches for record in records}


# -- docker-compose.secure.yml --------------------------------------------------------------------
@pytest.mark.long
def test_every_service_does_its_part_secured(secured: Stack) -> None:
    does_its_part(secured)


@pytest.mark.long
def test_no_password_of_the_secured_is_in_a_process_list_or_a_log(secured: Stack) -> None:
    files = [
        path for path in (secured.folder / "secure").rglob("*") if "password" in path.name.lower()
    ]
    passwords = {path.read_text() for path in files if path.suffix != ".json"}
    assert len(passwords) > 15
    shows_none(secured, passwords)


@pytest.mark.long
@pytest.mark.parametrize("line", [one for one in sorted(set(COMMANDS)) if "redis-cli" not in one])
def test_a_command_of_the_runbook_runs_secured(secured: Stack, line: str) -> None:
    if line == ONLY_WHEN_STOPPED:
        assert secured.stop("fraud") == 0
    done = secured.shell(line)
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stdout + done.stderr
    if line == ONLY_WHEN_STOPPED:
        secured.start("fraud")


@pytest.mark.long
def test_what_runs_once_changes_nothing_when_it_runs_again(secured: Stack) -> None:
    def made() -> dict[Path, bytes]:
        folder = secured.folder / "secure"
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    names = secured.folder / "secure" / "exporter" / "passwords.json"
    before = {path: content for path, content in made().items() if path != names}
    for name in ("secrets", "rights", "topics"):
        secured.once(name)
    after = {path: content for path, content in made().items() if path != names}
    assert after == before
    does_its_part(secured)

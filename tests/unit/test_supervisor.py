"""The supervisor over small children: restarts, backoff, orderly and forced ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from streams.errors import SettingsError, WorkerError
from streams.settings import HealthSettings, Settings
from streams.supervisor import (
    AGENTS,
    ChildSpec,
    Patience,
    Supervisor,
    agent_specs,
    health_ports,
)

QUICK = Patience(first_s=0.05, last_s=0.4, steady_s=60.0, stop_s=5.0)
SLEEP = "import time; time.sleep(60)"


def child(code: str, name: str = "fraud", **environment: str) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-I", "-S", "-c", code), environment)


def step_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        supervisor.step()
        time.sleep(0.01)


def test_no_children_are_fine() -> None:
    with Supervisor([], QUICK) as supervisor:
        supervisor.step()

    assert supervisor.pids == {}


def test_a_child_that_asks_for_it_is_started_again_later_each_time(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = (
        f"import sys, time; open({str(starts)!r}, 'a').write(f'{{time.time()}}\\n'); sys.exit(75)"
    )

    with Supervisor([child(code)], QUICK) as supervisor:
        step_until(supervisor, lambda: supervisor.restarts == 4)

    times = [float(line) for line in starts.read_text().splitlines()]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap > least for gap, least in zip(gaps, (0.05, 0.1, 0.2, 0.4), strict=False))


def test_a_child_that_ran_steadily_is_started_again_without_delay(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = f"import sys; open({str(starts)!r}, 'a').write('.'); sys.exit(75)"
    patience = Patience(first_s=0.01, last_s=60.0, steady_s=0.0)

    with Supervisor([child(code)], patience) as supervisor:
        step_until(supervisor, lambda: supervisor.restarts == 8)  # doubled, it would take 2.5 s

    assert supervisor.restarts == 8


def test_a_child_that_a_signal_ended_is_started_again() -> None:
    with Supervisor([child(SLEEP)], QUICK) as supervisor:
        (first,) = supervisor.pids.values()
        os.kill(first, signal.SIGKILL)
        step_until(supervisor, lambda: supervisor.restarts == 1)

        (second,) = supervisor.pids.values()
        assert second != first


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_child_that_ends_otherwise_ends_them_all(status: int) -> None:
    specs = [child(f"import sys; sys.exit({status})"), child(SLEEP, "labels")]

    with (
        pytest.raises(WorkerError, match=f"the fraud worker ended with status {status}$"),
        Supervisor(specs, QUICK) as supervisor,
    ):
        step_until(supervisor, lambda: False)

    assert supervisor.pids == {}


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(deaf)!r}).touch(); time.sleep(60)"
    )
    patience = Patience(stop_s=0.2)
    specs = [child(code), child(SLEEP, "labels")]

    with Supervisor(specs, patience) as supervisor:
        step_until(supervisor, deaf.exists)
        began = time.monotonic()

    assert supervisor.pids == {}
    assert time.monotonic() - began < 5


def test_a_child_gets_its_environment_and_its_output_goes_where_it_should(tmp_path: Path) -> None:
    code = "import os, time; print(os.environ['PLACE'], flush=True); time.sleep(60)"
    log = tmp_path / "log"

    with (
        log.open("wb") as output,
        Supervisor([child(code, PLACE="here")], QUICK, output) as supervisor,
    ):
        step_until(supervisor, lambda: log.read_text() == "here\n")


def test_each_agent_has_the_port_above_the_one_before() -> None:
    ports = health_ports(Settings(health=HealthSettings(port=7000)))

    assert ports == {"fraud": 7000, "labels": 7001, "vision": 7002}
    assert [spec.environment["TOCSIN_HEALTH__PORT"] for spec in agent_specs(ports)] == [
        "7000",
        "7001",
        "7002",
    ]


def test_port_zero_picks_free_ports_that_a_restart_keeps() -> None:
    ports = health_ports(Settings(health=HealthSettings(port=0)))

    assert len(set(ports.values())) == len(AGENTS)
    assert 0 not in ports.values()


def test_the_last_port_leaves_none_for_the_other_agents() -> None:
    with pytest.raises(SettingsError, match="65535"):
        health_ports(Settings(health=HealthSettings(port=65_535)))

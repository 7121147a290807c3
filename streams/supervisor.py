"""Worker processes under one roof: started together, restarted when that helps, stopped together.

A worker ends with status 75 when a restart is safe and may help (see `streams.worker`), and a
signal is a crash or the kernel's out-of-memory killer: both are started again, later each time. A
worker that ends in any other way has said why, and would say it again: then all end.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess  # nosec B404
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from streams.devstack import launch
from streams.devstack.ports import free_ports
from streams.errors import RESTART, SettingsError, WorkerError
from streams.settings import Settings

log = logging.getLogger(__name__)

AGENTS = ("fraud", "labels", "vision")

POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run, with `environment` on top of our own."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: before a restart, doubling from `first_s` to `last_s`, and for an end."""

    first_s: float = 0.5
    last_s: float = 30.0
    steady_s: float = 60.0
    """A child that ran this long before it ended is started again as if for the first time."""

    stop_s: float = 30.0
    """From SIGTERM to SIGKILL."""


class _Child:
    """One process and the time of its next start."""

    def __init__(self, spec: ChildSpec, patience: Patience, output: IO[bytes] | None) -> None:
        self.spec, self._patience, self._output = spec, patience, output
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self._delay_s = patience.first_s
        self._started = 0.0
        self._due: float | None = None

    def start(self) -> None:
        """Start the process in a session of its own: Ctrl-C is for us, we pass it on."""
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        self.process = subprocess.Popen(  # noqa: S603  # nosec B603 # the command is ours
            [*launcher, *self.spec.command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env={**os.environ, **self.spec.environment},
            start_new_session=True,
        )
        self._started, self._due = time.monotonic(), None

    def step(self) -> None:
        """Notice an end, plan the restart, start when it is due.

        Raises:
            WorkerError: the process ended in a way that a restart does not help.
        """
        now = time.monotonic()
        if self._due is not None:
            if now >= self._due:
                self.restarts += 1
                self.start()
            return
        status = None if self.process is None else self.process.poll()
        if status is None:
            return
        if status != RESTART and status >= 0:
            raise WorkerError(f"the {self.spec.name} worker ended with status {status}")
        if now - self._started >= self._patience.steady_s:
            self._delay_s = self._patience.first_s
        self._due = now + self._delay_s
        log.warning(
            "the %s worker %s: starting it again in %g s",
            self.spec.name,
            f"ended with status {status}" if status > 0 else f"was ended by signal {-status}",
            self._delay_s,
        )
        self._delay_s = min(2 * self._delay_s, self._patience.last_s)


class Supervisor:
    """Runs the children while its block lasts. From one thread, which must outlive them.

    Args:
        specs: the children.
        patience: waiting times.
        output: where the children's standard output and error go; ours if None.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        patience: Patience | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self._patience = patience or Patience()
        self._children = [_Child(spec, self._patience, output) for spec in specs]

    @property
    def restarts(self) -> int:
        """How often a child was started again."""
        return sum(child.restarts for child in self._children)

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the children that run, by name."""
        return {
            child.spec.name: child.process.pid
            for child in self._children
            if child.process is not None and child.process.poll() is None
        }

    def run(self, stopping: threading.Event) -> None:
        """Look after the children until `stopping` is set.

        Raises:
            WorkerError: as `step`.
        """
        while not stopping.wait(POLL_S):
            self.step()

    def step(self) -> None:
        """Restart what ended. Call it a few times a second.

        Raises:
            WorkerError: a child ended in a way that a restart does not help.
        """
        for child in self._children:
            child.step()

    def stop(self) -> None:
        """End all children: SIGTERM to each, and SIGKILL to those that remain; may be repeated."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + self._patience.stop_s
        while self.pids and time.monotonic() < deadline:
            time.sleep(POLL_S / 10)
        for name in self.pids:
            log.error("the %s worker did not end in %g s: killed", name, self._patience.stop_s)
        self._signal(signal.SIGKILL)
        for child in self._children:
            if child.process is not None:
                child.process.wait()

    def __enter__(self) -> Self:
        try:
            for child in self._children:
                child.start()
        except BaseException:  # `__exit__` is not called then
            self._signal(signal.SIGKILL)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except BaseException:  # a second Ctrl-C: no time to be polite
            self._signal(signal.SIGKILL)
            raise

    def _signal(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.send_signal(number)  # does nothing if it has ended


def health_ports(settings: Settings) -> dict[str, int]:
    """Choose each agent's port: ``health.port`` and those above it, or free ones for 0.

    Raises:
        SettingsError: there is no port above.
    """
    first = settings.health.port
    if not first:
        return dict(zip(AGENTS, free_ports(len(AGENTS)), strict=True))
    if first + len(AGENTS) > 65_536:
        raise SettingsError(f"health.port {first} leaves no port for the other agents")
    return {name: first + place for place, name in enumerate(AGENTS)}


def dashboard_spec(
    address: str, workers: Sequence[str], environment: Mapping[str, str]
) -> ChildSpec:
    """Describe a ``tocsin dashboard`` at `address` that watches `workers`."""
    host, _, port = address.removeprefix("http://").rpartition(":")
    own = {"HOST": host, "PORT": port, "WORKERS": json.dumps(list(workers)), "USERS": "{}"}
    return ChildSpec(
        "dashboard",
        (sys.executable, "-m", "streams.cli", "dashboard"),
        {**environment, **{f"TOCSIN_DASHBOARD__{name}": value for name, value in own.items()}},
    )


def agent_specs(
    ports: Mapping[str, int], environment: Mapping[str, str] | None = None
) -> list[ChildSpec]:
    """Describe one ``tocsin worker`` for each agent of `ports`."""
    return [
        ChildSpec(
            name,
            (sys.executable, "-m", "streams.cli", "worker", name),
            {**(environment or {}), "TOCSIN_HEALTH__PORT": str(port)},
        )
        for name, port in ports.items()
    ]

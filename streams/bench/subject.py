"""A system under test: a process of its own, whose CPU time and memory are read from outside."""

from __future__ import annotations

import http.client
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import msgspec
import numpy as np

from streams.bench.assignment import Measured, Reporting, read_report
from streams.bench.procfs import cpu_s, peak_rss_mib, rss_mib
from streams.devstack.errors import ServerFailed
from streams.devstack.ports import HOST, free_ports
from streams.devstack.process import Server
from streams.errors import WorkerError
from streams.scrape import Samples, scrape

SAMPLE_S: Final = 0.02
"""How often CPU time is read: the clock behind it ticks every 10 ms."""

READY_S: Final = 120.0

POLL_S: Final = 0.25
"""Between two looks at a worker's metrics: each costs it a few milliseconds."""


class Subject(Server):
    """A process that is sampled from its start to its end. Linux only: it reads ``/proc``."""

    def __init__(self) -> None:
        super().__init__()
        self._samples: list[tuple[float, float]] = []  # time (s, epoch), CPU time (s)
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            try:
                self._samples.append((time.time(), cpu_s(self.pid)))
            except (OSError, ServerFailed):
                return

    def watch(self) -> None:
        """Begin to sample; the process must run."""
        self._sampler.start()

    def close(self) -> None:
        """Stop the process, and the sampling."""
        self._ended.set()
        super().close()

    def cpu_between(self, start: float, end: float) -> float:
        """Return the CPU seconds that the process spent between two moments (s, epoch)."""
        times, spent = np.array(self._samples).T
        return float(np.interp(end, times, spent) - np.interp(start, times, spent))

    def rss_mib(self) -> float:
        """Return the resident memory now."""
        return rss_mib(self.pid)

    def peak_rss_mib(self) -> float:
        """Return the largest resident memory up to now."""
        return peak_rss_mib(self.pid)

    def answers(self) -> bool:
        """A program that is not asked anything is ready at once."""
        return True


class Program(Subject):
    """One of this package's programs; it ends by itself and writes a report."""

    name: ClassVar[str] = "program"

    def __init__(self, module: str, assignment: Reporting) -> None:
        super().__init__()
        self._module = module
        self._report = self._scratch / "report.json"
        self._assignment = msgspec.structs.replace(assignment, report=str(self._report))

    def command(self) -> list[str]:
        """Run the module with this interpreter."""
        told = msgspec.json.encode(self._assignment).decode()
        return [sys.executable, "-m", f"streams.bench.{self._module}", told]

    def result(self, limit_s: float) -> Measured:
        """Wait for the report; the process may live on for a moment to commit.

        Raises:
            ServerFailed: it ended without one, or took longer than `limit_s`.
        """
        self._wait_for(self._report, limit_s)
        return read_report(self._report)

    def wait_ready(self) -> None:
        """Wait until the program has said that it is.

        Raises:
            ServerFailed: it ended, or did not say so in time.
        """
        self._wait_for(self._report.with_name("report.json.ready"), READY_S)

    def _wait_for(self, file: Path, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while not file.exists():
            if not self.running or time.monotonic() > deadline:
                raise ServerFailed(f"{self._module} gave no {file.name}:\n{self.log_tail()}")
            time.sleep(0.05)


class Worker(Subject):
    """``tocsin worker``, as a user would start it, with settings from the environment."""

    name: ClassVar[str] = "worker"
    start_timeout_s: ClassVar[float] = READY_S
    stop_timeout_s: ClassVar[float] = 30.0

    def __init__(self, agent: str, environment: Mapping[str, str]) -> None:
        super().__init__()
        (self._health_port,) = free_ports(1)
        self._agent = agent
        self._environment = {
            **environment,
            "TOCSIN_HEALTH__HOST": HOST,
            "TOCSIN_HEALTH__PORT": str(self._health_port),
        }

    def command(self) -> list[str]:
        """Run the command line with this interpreter."""
        code = "from streams.cli.main import main; main()"
        pairs = [f"{name}={value}" for name, value in self._environment.items()]
        return ["env", *pairs, sys.executable, "-c", code, "worker", self._agent]

    def answers(self) -> bool:
        """Whether its health server does: the checks and the joining come after."""
        connection = http.client.HTTPConnection(HOST, self._health_port, timeout=1.0)
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def metrics(self, limit_s: float = 30.0) -> Samples:
        """Read its metrics; a busy machine may take more than one attempt.

        Raises:
            ServerFailed: it ended, or did not answer in `limit_s`.
        """
        deadline = time.monotonic() + limit_s
        while True:
            try:
                return scrape(f"http://{HOST}:{self._health_port}/metrics", timeout_s=10.0)
            except WorkerError as error:
                if not self.running or time.monotonic() > deadline:
                    raise ServerFailed(f"the worker ended ({error}):\n{self.log_tail()}") from error
            time.sleep(POLL_S)

    def wait_for(self, name: str, value: float, limit_s: float) -> Samples:
        """Read the metrics until `name` has reached `value`; they are all of one moment.

        Raises:
            ServerFailed: it ended, or took longer than `limit_s`.
        """
        deadline = time.monotonic() + limit_s
        while True:
            samples = self.metrics()
            if samples.get(name) >= value:
                return samples
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"the worker reached {samples.get(name):.0f} of {value:.0f} {name} "
                    f"in {limit_s:.0f} s:\n{self.log_tail()}"
                )
            time.sleep(POLL_S)

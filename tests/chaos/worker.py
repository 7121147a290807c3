"""A worker as a child process: started, watched, and hurt."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.nursery import nursery

REAL = (sys.executable, "-c", "from streams.cli.main import main; main()", "worker", "fraud")
SLOW = (sys.executable, str(Path(__file__).with_name("slow_worker.py")))

START_S = 60.0
"""Importing torch takes seconds, and this machine may be busy."""


class WorkerProcess:
    """One worker; it dies with the tests.

    Args:
        command: `REAL` or `SLOW` and its options.
        settings: ``TOCSIN_`` environment; no other setting reaches the worker.
        log: file for its standard error.
        marks: file of a slow worker's marks.
        apart: start Python anew, where the environment changes how it starts.

    Attributes:
        gate: file that a standby waits for.
    """

    def __init__(
        self,
        command: Sequence[str],
        settings: Mapping[str, str],
        log: Path,
        marks: Path,
        *,
        apart: bool = False,
    ) -> None:
        self._log, self._marks = log, marks
        self.gate: Path | None = None
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")}
        given = {**inherited, **settings}
        self._process = nursery().start(command, given, cwd=log.parent, log=log, apart=apart)

    def go(self) -> None:
        """Tell a standby to join; it is ready to when this returns."""
        assert self.gate is not None
        self.says("standing by")
        self.gate.touch()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    # -- signals ------------------------------------------------------------------------------
    def kill(self) -> None:
        """End it as a crash of the machine would."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it stands still and does not know it."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self, timeout_s: float = 15.0) -> int:
        """SIGTERM; return the exit status."""
        self._process.terminate()
        return self.status(timeout_s)

    def status(self, timeout_s: float) -> int:
        """Wait for it to end by itself; return the exit status."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_s} s:\n{self.text()}") from None

    @property
    def running(self) -> bool:
        """Whether the process exists, paused or not."""
        return self._process.poll() is None

    # -- what it says -------------------------------------------------------------------------
    def text(self) -> str:
        """Everything that it has logged."""
        return self._log.read_text(errors="replace")

    def says(self, words: str, timeout_s: float = START_S) -> None:
        """Wait until its log has `words`."""
        until(lambda: words in self.text(), timeout_s, lambda: f"no {words!r}:\n{self.text()}")

    def marks(self) -> list[str]:
        """The marks so far, ``begin N`` or ``end N``."""
        return self._marks.read_text().splitlines() if self._marks.exists() else []

    def is_inferring(self) -> bool:
        """Whether a batch is under way; of a worker that has ended: whether one was."""
        marks = self.marks()
        return bool(marks) and marks[-1].startswith("begin")

    @property
    def begun(self) -> int:
        """How many batches it has begun."""
        return sum(mark.startswith("begin") for mark in self.marks())

    def batches(self, count: int, timeout_s: float = START_S) -> None:
        """Wait until it has begun batch `count`."""

        def begun() -> bool:
            assert self.running, f"ended with status {self._process.returncode}:\n{self.text()}"
            return self.begun >= count

        until(begun, timeout_s, lambda: f"not {count} batches:\n{self.text()}")

    def reasons(self, words: str, timeout_s: float = START_S) -> str:
        """Wait until it says of itself something with `words`; return that."""
        found: list[str] = []

        def said() -> bool:
            found[:] = [reason for reason in self.readiness() or [] if words in reason]
            return bool(found)

        until(said, timeout_s, lambda: f"{words!r} not in {self.readiness()}:\n{self.text()}")
        return found[0]

    def readiness(self) -> list[str] | None:
        """Ask /readyz why it is not ready; None if nobody answers."""
        try:
            with urlopen(f"{self._url()}/readyz", timeout=5) as answer:
                return list(json.load(answer)["reasons"])
        except HTTPError as refused:
            with refused:
                return list(json.load(refused)["reasons"])
        except (URLError, ConnectionError):
            return None

    def memory_mib(self) -> float:
        """What it holds of memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024

    def metric(self, name: str) -> float:
        """Read a metric without labels other than the agent."""
        with urlopen(f"{self._url()}/metrics", timeout=5) as answer:
            found = re.search(
                rf'^{name}{{agent="fraud"}} (\S+)$', answer.read().decode(), re.MULTILINE
            )
        assert found is not None, f"no metric {name}"
        return float(found[1])

    def _url(self) -> str:
        self.says("health and metrics on http://")
        found = re.search(r"health and metrics on (http://\S+)", self.text())
        assert found is not None
        return found[1]


def until(done: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
    """Wait for `done`; fail with what `otherwise` says."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:g} s: {otherwise()}")
        time.sleep(0.02)

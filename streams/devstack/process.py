"""A server as a child process: start, wait until it answers, stop, kill, start again."""

from __future__ import annotations

import os
import signal
import subprocess  # nosec B404
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from streams.devstack import launch
from streams.devstack.errors import ServerFailed

POLL_S = 0.02
LOG_LINES = 8


class Server(ABC):
    """One server process that keeps its ports and data directory from start to start.

    Use it as a context manager, or call `start` and `close`. Not for several threads at once; the
    thread that calls `start` must outlive the server (see `streams.devstack.launch`).

    Args:
        data: directory for the server's data, kept afterwards; a temporary one if None.
    """

    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 30.0
    stop_timeout_s: ClassVar[float] = 15.0

    def __init__(self, data: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(
            prefix=f"tocsin-{self.name}-", ignore_cleanup_errors=True
        )
        self._scratch = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None
        self.data = data or self._scratch / "data"
        self.log = self._scratch / "server.log"

    @abstractmethod
    def command(self) -> list[str]:
        """Return program and arguments, after preparing the data directory if it is new.

        Raises:
            ServerMissing: something that the server needs is not installed.
        """

    @abstractmethod
    def answers(self) -> bool:
        """Ask the server once whether it is ready; False if it refuses or cannot be reached."""

    @property
    def running(self) -> bool:
        """Whether the process exists; it may be paused or not answer."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id, for signals that this class has no method for.

        Raises:
            ServerFailed: the server is not running.
        """
        if self._process is None or not self.running:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> Self:
        """Start the server and return once it answers; does nothing while it is running.

        Raises:
            ServerMissing: something that the server needs is not installed.
            ServerFailed: it ended, or did not answer in `start_timeout_s`.
        """
        if self.running:
            return self
        self.data.mkdir(parents=True, exist_ok=True)
        command = self.command()
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # nosec B603 # the command is ours
                launcher + command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._scratch,
                start_new_session=True,  # Ctrl-C is for us: we stop the server when we are done
            )
        try:
            self._wait_ready(self._process)
        except BaseException:  # whatever ended the wait, an interrupt included, no orphan stays
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Ask the server to end (SIGTERM), and kill it when it has not after `stop_timeout_s`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL): it cannot flush or say goodbye."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop the server and delete the temporary directory; harmless when called twice."""
        self.stop()
        self._temporary.cleanup()

    def log_tail(self) -> str:
        """Return the last lines of the server's log, for an error message."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:  # `__exit__` is not called then, and the directory would stay
            self.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_timeout_s
        while not self.answers():
            if process.poll() is not None:
                raise ServerFailed(
                    f"{self.name} ended with status {process.returncode}:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"{self.name} did not answer in {self.start_timeout_s:g} s:\n{self.log_tail()}"
                )
            time.sleep(POLL_S)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)  # does nothing if the process has ended
        try:
            process.wait(self.stop_timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

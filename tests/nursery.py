"""Python programs that start at once: forked from a process that has imported everything.

Importing torch, Faust and OpenCV takes a worker seconds of a whole core, and the tests start a
hundred workers. What runs is what would have run otherwise: the same file or ``-c`` text, with its
own arguments, environment, directory and log, in a process of its own that signals end.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from streams.devstack import launch

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = (
    "streams.cli.main",
    "streams.cli.worker",
    "streams.worker",
    "tests.fakes.blobs",
)


class Child:
    """One process of the nursery, with the part of `subprocess.Popen` that the tests use."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self.pid = nursery, pid

    @property
    def returncode(self) -> int | None:
        return self._nursery.ended.get(self.pid)

    def poll(self) -> int | None:
        """Exit status, the negative signal that ended it, or None while it runs."""
        self._nursery.hear(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self._nursery.hear(0.05)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks; used from the thread that made it. It dies with it."""

    def __init__(self) -> None:
        self.ended: dict[int, int] = {}
        ours, theirs = socket.socketpair()
        launcher = (sys.executable, "-I", "-S", launch.__file__, str(os.getpid()))
        with theirs:
            self._process = subprocess.Popen(
                [*launcher, sys.executable, "-P", "-u", __file__, str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._wire = ours
        self._answers = ours.makefile("rb")
        self._born: list[int] = []

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        cwd: Path,
        log: Path,
        errors: Path | None = None,
        apart: bool = False,
    ) -> Child:
        """Run `command`, a Python program.

        Args:
            command: begins with our Python.
            environment: all of it.
            cwd: its working directory.
            log: file to whose end its output goes.
            errors: as `log`, for what it writes to standard error; the same if None.
            apart: from a Python that starts anew, as it would without us.
        """
        assert command[0] == sys.executable, command
        log.touch()
        asked = {
            "command": command,
            "env": dict(environment),
            "cwd": str(cwd),
            "log": str(log),
            "errors": str(errors or log),
            "apart": apart,
        }
        self._wire.sendall(json.dumps(asked).encode() + b"\n")
        while not self._born:
            self.hear(60)
        return Child(self, self._born.pop())

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end in `folder`, as `subprocess.run` does."""
        with TemporaryDirectory(dir=folder) as scratch:
            log, errors = Path(scratch) / "out", Path(scratch) / "err"
            child = self.start(command, environment, cwd=folder, log=log, errors=errors)
            return subprocess.CompletedProcess(
                command, child.wait(), log.read_text(), errors.read_text()
            )

    def hear(self, timeout_s: float) -> None:
        """Take in one thing that it says, waiting for it so long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wire, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                return
        line = self._answers.readline()
        assert line, f"the nursery ended with status {self._process.wait()}"
        said = json.loads(line)
        if "status" in said:
            self.ended[said["pid"]] = said["status"]
        else:
            self._born.append(said["pid"])


@cache
def nursery() -> Nursery:
    """The one of this test run."""
    return Nursery()


# -- in the process that forks -------------------------------------------------------------------
def serve(wire: socket.socket) -> None:
    """Fork a process for every line, and say when one has ended, until nobody listens."""
    for name in EVERYTHING:
        import_module(name)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    requests = wire.makefile("rb")
    living: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(wire, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == woken:
                    os.read(woken, 4096)
                    _bury(wire, living)
                elif line := requests.readline():
                    living.add(_fork(wire, json.loads(line)))
                else:
                    return  # what lives dies with us


def _bury(wire: socket.socket, living: set[int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        living.remove(pid)
        _say(wire, pid=pid, status=os.waitstatus_to_exitcode(status))


def _fork(wire: socket.socket, asked: dict[str, Any]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        _say(wire, pid=pid)
        return pid
    status = 1
    try:
        status = _live(parent, wire, asked)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _live(parent: int, wire: socket.socket, asked: dict[str, Any]) -> int:
    """Be the program that was asked for; return its exit status."""
    # 1. Nothing of the process that forked: it ends with it, and hears and tells nothing.
    ctypes.CDLL(None).prctl(launch.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return 1
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    wire.detach()

    # 2. Its own surroundings.
    for number, file in ((1, asked["log"]), (2, asked["errors"])):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), number)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])

    # 3. Python's own ways to start and end a program.
    if asked["apart"]:
        os.environ["PYTHONPATH"] = str(ROOT)
        os.execv(asked["command"][0], asked["command"])
    _, kind, *arguments = asked["command"]
    try:
        if kind == "-c":
            sys.argv = ["-c", *arguments[1:]]
            exec(compile(arguments[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = [kind, *arguments]
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - as Python ends
        traceback.print_exc()
        return 1
    return 0


def _say(wire: socket.socket, **words: int) -> None:
    wire.sendall(json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

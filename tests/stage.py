"""Plays the commands of a document as a reader would: in its folder, with its files, in order."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer

from typer.testing import CliRunner

from streams.cli.main import app
from tests.pages import Command, matches
from tests.worker import Bed, environment_of

WITHIN_S = 60.0
TYPED = "correct horse battery\n" * 2
"""What is typed where a command asks, for a password and once more."""


@dataclass
class Stage:
    """A folder in which a page is played, and what its commands find there."""

    folder: Path
    bed: Bed
    environment: dict[str, str] = field(init=False)
    here: dict[str, str] = field(default_factory=dict)
    """What stands in the page, and what it is here."""
    cues: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What happens while a command waits for something to print, by how its line begins."""

    def __post_init__(self) -> None:
        """Take this process's environment, and what is asked of every page."""
        settings = self.bed.settings
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            **environment_of(settings),
            "PATH": path,
            "COLUMNS": "300",
            "CURL_HOME": str(self.folder),  # an answer of 400 and above is a failure
            "BROKER": settings.kafka.bootstrap_servers,
            "REDIS_URL": settings.redis.url,
        }
        (self.folder / ".curlrc").write_text("fail-with-body\n")

    def play(self, command: Command) -> None:
        """Run a command; what it is said to print it must print, in order."""
        line = command.words
        for said, is_here in self.here.items():
            line = line.replace(said, is_here)
        if line.startswith("export "):
            found = self._shell(f"{line}; env").splitlines()
            self.environment.update(
                text.split("=", 1) for text in found if text.startswith("TOCSIN_")
            )
        elif command.prints:
            self._printing(line, command.prints)
        elif line.startswith("tocsin "):
            self._tocsin(shlex.split(line)[1:])
        else:
            self._shell(line)

    def _tocsin(self, words: list[str]) -> None:
        """Run a command of ours in this process, which has imported it already."""
        before, folder = dict(os.environ), Path.cwd()
        try:
            os.chdir(self.folder)
            done = CliRunner().invoke(app, words, env=self.environment, input=TYPED)
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)
        assert done.exit_code == 0, f"{words}: {done.output} {done.exception!r}"

    def _shell(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _printing(self, line: str, prints: tuple[str, ...]) -> None:
        """Run what may go on for ever until it has printed what it should."""
        awaited, seen, log = list(prints), list[str](), self.folder / "stderr"
        with (
            log.open("w") as stderr,
            subprocess.Popen(
                ["bash", "-c", line],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            ) as process,
        ):
            hanging = Timer(WITHIN_S, os.killpg, (process.pid, signal.SIGKILL))
            hanging.start()
            try:
                for begin, happen in self.cues.items():
                    if line.startswith(begin):
                        happen()
                assert process.stdout is not None
                while awaited and (text := process.stdout.readline()):
                    seen.append(text)
                    if matches(awaited[0], text):
                        awaited.pop(0)
            finally:
                hanging.cancel()
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        assert awaited == [], f"{line}\nprinted {seen}\n{log.read_text()}"

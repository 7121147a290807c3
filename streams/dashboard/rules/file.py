"""The rules file on disk: read with its digest, replaced as a whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streams.errors import TocsinError


class RulesOnDisk:
    """A file that several dashboards may change, and workers read at any time.

    Every method raises `TocsinError`, with what to do about it, where the disk does not do it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes:
        """Give the whole file."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise TocsinError(
                f"cannot read the rules {self.path}: {error.strerror}: vision.rules must name a "
                "file that dashboard and vision workers share"
            ) from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other dashboard changes the file, and keep them off during the block."""
        with self._refusals():
            folder = os.open(self._target().parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with self._refusals():
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    @contextmanager
    def beside(self, content: bytes) -> Iterator[Path]:
        """Write `content` next to the file, to be put in its place; removed if that is not done."""
        target = self._target()
        with self._refusals():
            mode = target.stat().st_mode & 0o777
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        made = Path(name)
        try:
            with self._refusals(), os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(handle, mode)  # the workers' user must read it as before
                os.fsync(handle)
            yield made
        finally:
            with suppress(OSError):
                made.unlink(missing_ok=True)

    def replace(self, made: Path) -> None:
        """Put what `beside` wrote in the file's place: from now on, also after a crash."""
        target = self._target()
        with self._refusals():
            made.replace(target)
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _target(self) -> Path:
        """The file itself where the path is a link: what is replaced must not be the link."""
        return self.path.resolve()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TocsinError(
                f"the rules {self.path} cannot be changed here: {error.strerror}: keep the file in "
                "a folder that the dashboard may write"
            ) from None


def digest(content: bytes) -> str:
    """SHA-256 of a file, in hex, as workers say which rules are in force."""
    return hashlib.sha256(content).hexdigest()

"""Find the processes that a command of ours has started, however it started them."""

from __future__ import annotations

import os
import time
from pathlib import Path


def working_in(folder: Path) -> dict[int, str]:
    """The processes whose working directory is `folder` or below it, with their command lines.

    A command that is started there, with ``TMPDIR`` there, has its servers and workers there too.
    Neither zombies nor their parents' relations matter.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # ended meanwhile, or not ours
    return {pid: command.decode() for pid, command in found.items() if command}


def named(folder: Path, part: str) -> set[int]:
    """Those whose command line holds `part`."""
    return {pid for pid, command in working_in(folder).items() if part in command}


def all_gone(folder: Path, within_s: float) -> bool:
    """Whether no process works in `folder` any more, waiting for it for up to `within_s`."""
    deadline = time.monotonic() + within_s
    while working_in(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def clean_environment(folder: Path, **settings: str) -> dict[str, str]:
    """Our environment with temporary files in `folder` and no settings but these."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    return {**ours, "TMPDIR": str(folder), **settings}

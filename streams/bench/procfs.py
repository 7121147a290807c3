"""What Linux tells of a process in ``/proc``; see proc(5)."""

from __future__ import annotations

import os
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Read the CPU time of a process, user and system (s)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> float:
    """Read the resident memory of a process."""
    return _status(pid, "VmRSS") / 1024


def peak_rss_mib(pid: int) -> float:
    """Read the largest resident memory that a process has had."""
    return _status(pid, "VmHWM") / 1024


def threads(pid: int) -> int:
    """Count the threads of a process."""
    return _status(pid, "Threads")


def open_files(pid: int) -> int:
    """Count the files, sockets and pipes that a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has ended")

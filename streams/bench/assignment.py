"""What a system under test is told, and what it tells back: one JSON object each."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from streams.bench.procfs import peak_rss_mib


class Reporting(msgspec.Struct, frozen=True, kw_only=True):
    """What any program of the bench is told."""

    report: str = ""
    """File to write the `Measured` to."""


class Assignment(Reporting, frozen=True, kw_only=True):
    """The only argument of a program of the fraud path."""

    bootstrap: str
    topic: str
    alerts_topic: str
    group: str
    events: int
    """How many to take; then the program ends."""

    model: str | None = None
    """Manifest of the network; the bundled one if None."""

    threshold: float | None = None
    """Score from which an alert is raised; the manifest's own if None."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """When the first event arrived and the last one was done (s, epoch), and what came of it."""

    started_at: float
    finished_at: float
    events: int
    alerts: int = 0
    peak_rss_mib: float = 0.0
    latencies_ms: list[float] = []


def read_assignment() -> Assignment:
    """Decode the command line."""
    return msgspec.json.decode(sys.argv[1], type=Assignment)


def write_report(assignment: Reporting, measured: Measured) -> None:
    """Tell the parent, with the memory of this process; the file is there when it is whole."""
    told = msgspec.structs.replace(measured, peak_rss_mib=peak_rss_mib(os.getpid()))
    draft = Path(f"{assignment.report}.draft")
    draft.write_bytes(msgspec.json.encode(told))
    draft.rename(assignment.report)


def announce_ready(assignment: Assignment) -> None:
    """Tell the parent that whatever is sent from now on is received."""
    Path(f"{assignment.report}.ready").touch()


def read_report(path: Path) -> Measured:
    """Read what a program told."""
    return msgspec.json.decode(path.read_bytes(), type=Measured)

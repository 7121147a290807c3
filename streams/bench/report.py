"""The figures of one run, and the medians of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Throughput:
    """One system over one topic, from the first event to the last one acknowledged."""

    events: int
    seconds: float
    cpu_s: float
    peak_rss_mib: float
    alerts: int
    stages_us: dict[str, float] = field(default_factory=dict)
    """CPU time of each stage's thread by event, where the system tells it."""

    stages_wall_us: dict[str, float] = field(default_factory=dict)
    alerted: set[str] = field(default_factory=set)
    """Ids of the transactions that its alerts topic has."""

    @property
    def events_per_s(self) -> float:
        """Return the rate."""
        return self.events / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        """Return the CPU time of a million events."""
        return self.cpu_s * 1e6 / self.events


def summary(runs: Sequence[Throughput]) -> dict[str, Any]:
    """Give the medians over `runs`, at least one; the rates of all of them beside.

    Rates are events/s, CPU times seconds, memory MiB, stages microseconds by event.
    """
    told: dict[str, Any] = {
        "events_per_s": median(run.events_per_s for run in runs),
        "cpu_s_per_million": median(run.cpu_s_per_million for run in runs),
        "peak_rss_mib": median(run.peak_rss_mib for run in runs),
        "events": runs[-1].events,
        "alerts": runs[-1].alerts,
        "runs": [run.events_per_s for run in runs],
    }
    if runs[-1].stages_us:
        told["stages_us"] = _medians([run.stages_us for run in runs])
        told["stages_wall_us"] = _medians([run.stages_wall_us for run in runs])
    return told


def _medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(run[name] for run in runs) for name in runs[-1]}

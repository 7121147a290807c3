"""Figures over time out of the workers' answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from streams.dashboard.workers import Watched
from streams.scrape import Samples, histogram_quantile

Points = list[tuple[float, float]]
"""(epoch seconds, value)."""

_SPAN: Final = 5
"""Answers that a rate or a percentile is taken over: ten seconds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: its name, unit, and lines by name."""

    name: str
    unit: str
    lines: dict[str, Points]


def figures_of(workers: Sequence[Watched]) -> list[Figure]:
    """Give what the health view charts, of every worker that answers."""
    return [
        Figure("Throughput", "events/s", _each(workers, _rate("tocsin_events_total"))),
        Figure("Lag", "records", _each(workers, _gauge("tocsin_lag_records"))),
        Figure(
            "Latency to alert",
            "ms",
            {
                f"{name} {label}": points
                for q, label in ((0.5, "p50"), (0.99, "p99"))
                for name, points in _each(workers, _latency(q)).items()
            },
        ),
        Figure("Batch fill", "records", _each(workers, _mean("tocsin_batch_size"))),
        Figure("Dead letters", "per s", _each(workers, _rate("tocsin_dead_letters_total"))),
        Figure("Drift", "PSI", _each(workers, _largest("tocsin_drift_psi"))),
    ]


def agent_of(worker: Watched) -> str:
    """Name the agent that a worker runs; its address where it has not answered."""
    for name, labels in worker.latest.values:
        if name == "tocsin_ready":
            return dict(labels).get("agent", worker.address)
    return worker.address


Take = Callable[[Samples, Samples, float], float]
"""A figure out of an earlier answer, a later one, and the seconds between; nan for none."""


def _each(workers: Sequence[Watched], take: Take) -> dict[str, Points]:
    lines = {agent_of(worker): list(_points(worker, take)) for worker in workers}
    return {name: points for name, points in lines.items() if points}


def _points(worker: Watched, take: Take) -> Iterator[tuple[float, float]]:
    answers = list(worker.answers)
    for (then, before), (now, after) in zip(answers, answers[_SPAN:], strict=False):
        value = take(before, after, now - then)
        if math.isfinite(value) and now > then:
            yield now, value


def _rate(name: str) -> Take:
    return lambda before, after, s: max(after.get(name) - before.get(name), 0.0) / max(s, 1e-3)


def _gauge(name: str) -> Take:
    return lambda before, after, s: after.get(name)


def _latency(q: float) -> Take:
    name = "tocsin_alert_latency_seconds"
    return lambda before, after, s: 1000 * histogram_quantile(after.since(before), name, q)


def _mean(name: str) -> Take:
    def take(before: Samples, after: Samples, _: float) -> float:
        step = after.since(before)
        count = step.get(f"{name}_count")
        return step.get(f"{name}_sum") / count if count else math.nan

    return take


def _largest(name: str) -> Take:
    def take(_: Samples, after: Samples, __: float) -> float:
        found = [value for (known, _), value in after.values.items() if known == name]
        return max(found, default=math.nan)

    return take

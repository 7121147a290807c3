"""Figures over time out of the answers of workers and servers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streams.dashboard.servers import Figures, Servers
from streams.dashboard.workers import Watched
from streams.scrape import Samples, histogram_quantile

Points = list[tuple[float, float]]
"""(epoch seconds, value)."""

_DRIFTS: Final = 3
"""Inputs of a worker that the chart of drift follows."""

_SPAN: Final = 5
"""Answers that a rate or a percentile is taken over: ten seconds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: its name, unit (empty where the name says it), and lines by name."""

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
        Figure("Drift", "PSI of the inputs that drift most", _drifts(workers)),
    ]


def server_figures(servers: Servers) -> list[Figure]:
    """Give what the health view charts of Redis and Kafka."""
    redis, kafka = servers.redis.all, servers.kafka.all
    lags = sorted(name for name in servers.kafka.latest if name.startswith("lag "))
    return [
        Figure("Redis memory", "MiB", _named(redis, {"used": "used", "limit": "limit"})),
        Figure("Redis keys", "", _named(redis, {"keys": "keys"})),
        Figure("Redis operations", "per s", _named(redis, {"ops": "operations"})),
        Figure(
            "Kafka",
            "brokers, partitions",
            _named(
                kafka,
                {
                    "brokers": "brokers",
                    "under-replicated": "under-replicated",
                    "without a leader": "without a leader",
                },
            ),
        ),
        Figure(
            "Lag by group",
            "records",
            _named(kafka, {name: name.removeprefix("lag ") for name in lags}),
        ),
    ]


def model_of(worker: Watched) -> str:
    """Name the network that a worker serves, its version and its weights; empty for none."""
    for name, labels in worker.latest.values:
        if name == "tocsin_model_info":
            found = dict(labels)
            return f"{found['name']} {found['version']} ({found['sha256'][:8]})"
    return ""


def names_of(workers: Sequence[Watched]) -> list[str]:
    """Name workers by the agents that they run; by where they are, too, where several run one.

    One that has not answered yet is named by its address.
    """
    agents = [_agent_of(worker) for worker in workers]
    return [
        agent if agents.count(agent) == 1 else f"{agent} {urlsplit(worker.address).netloc}"
        for agent, worker in zip(agents, workers, strict=True)
    ]


def _agent_of(worker: Watched) -> str:
    for name, labels in worker.latest.values:
        if name == "tocsin_ready":
            return dict(labels).get("agent", worker.address)
    return worker.address


Take = Callable[[Samples, Samples, float], float]
"""A figure out of an earlier answer, a later one, and the seconds between; nan for none."""


def _each(workers: Sequence[Watched], take: Take) -> dict[str, Points]:
    named = zip(names_of(workers), workers, strict=True)
    lines = {name: list(_points(worker, take)) for name, worker in named}
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


def _drifts(workers: Sequence[Watched]) -> dict[str, Points]:
    """Follow the inputs of each worker that have drifted most by now."""
    lines: dict[str, Points] = {}
    for worker_name, worker in zip(names_of(workers), workers, strict=True):
        found = {
            dict(labels)["input"]: value
            for (name, labels), value in worker.latest.values.items()
            if name == "tocsin_drift_psi" and math.isfinite(value)
        }
        for name in sorted(found, key=lambda name: -found[name])[:_DRIFTS]:
            take = _labelled("tocsin_drift_psi", input=name)
            lines[f"{worker_name} {name}"] = list(_points(worker, take))
    return {name: points for name, points in lines.items() if points}


def _labelled(name: str, **labels: str) -> Take:
    return lambda before, after, s: after.get(name, **labels)


def _named(answers: Iterable[tuple[float, Figures]], lines: Mapping[str, str]) -> dict[str, Points]:
    """Lines of a server's answers, by what they are to be called."""
    found: dict[str, Points] = {said: [] for said in lines.values()}
    for at, figures in answers:
        for name, said in lines.items():
            if name in figures:
                found[said].append((at, figures[name]))
    return {said: points for said, points in found.items() if points}

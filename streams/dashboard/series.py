"""Figures over time out of the answers of workers and servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from streams.dashboard.readings import Point, Readings
from streams.dashboard.servers import Figures, Servers
from streams.dashboard.workers import Watched

Points = list[Point]

_DRIFTS: Final = 3
"""Inputs of a worker that the chart of drift follows."""

FRESH_S: Final = 2.0
"""Pages that ask within so many seconds get the same figures: workers are asked no oftener."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: its name, unit (empty where the name says it), and lines by name."""

    name: str
    unit: str
    lines: dict[str, Points]


class Charts:
    """What the health view charts of workers and servers, worked out once for all pages."""

    def __init__(self, workers: Sequence[Watched], servers: Servers) -> None:
        self._readings, self._servers = [Readings(one) for one in workers], servers
        self._figures: list[Figure] = []
        self._made_at = -FRESH_S

    async def keep_up(self) -> None:
        """Work out each answer soon after it came, so that no page has to wait for all of them.

        Runs until cancelled.
        """
        while True:
            for one in self._readings:
                one.update()
            await asyncio.sleep(FRESH_S)

    def now(self) -> list[Figure]:
        """Give all figures; those of a moment ago where somebody asked then."""
        now = time.monotonic()
        if now - self._made_at >= FRESH_S:
            self._figures = [*figures_of(self._readings), *server_figures(self._servers)]
            self._made_at = now
        return self._figures


def figures_of(readings: Sequence[Readings]) -> list[Figure]:
    """Give the figures of every worker that answers."""
    for one in readings:
        one.update()
    named = list(zip(names_of([one.worker for one in readings]), readings, strict=True))

    def each(figure: str, label: str = "") -> dict[str, Points]:
        lines = {f"{name}{label}": one.line(figure) for name, one in named}
        return {name: points for name, points in lines.items() if points}

    drifts = {
        f"{name} {line}": points
        for name, one in named
        for line, points in one.drifts(_DRIFTS).items()
        if points
    }
    # Every labels worker reads all verdicts: one of them says it for all.
    told = (one.shares() for one in readings)
    shares = next(filter(None, told), {})
    return [
        Figure("Throughput", "events/s", each("Throughput")),
        Figure("Lag", "records", each("Lag")),
        Figure("Latency to alert", "ms", each("p50", " p50") | each("p99", " p99")),
        Figure("Batch fill", "records", each("Batch fill")),
        Figure("Dead letters", "per s", each("Dead letters")),
        Figure("Verdicts", "share of the judged alerts that were right", shares),
        Figure("Drift", "PSI of the inputs that drift most", drifts),
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


def _named(answers: Iterable[tuple[float, Figures]], lines: Mapping[str, str]) -> dict[str, Points]:
    """Lines of a server's answers, by what they are to be called."""
    found: dict[str, Points] = {said: [] for said in lines.values()}
    for at, figures in answers:
        for name, said in lines.items():
            if name in figures:
                found[said].append((at, figures[name]))
    return {said: points for said, points in found.items() if points}

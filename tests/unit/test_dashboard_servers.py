"""What the health view charts of workers and servers."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import generate_latest

from streams.dashboard import readings, series
from streams.dashboard.pages.health import _summary
from streams.dashboard.readings import KEPT, Readings
from streams.dashboard.series import Charts, figures_of, model_of, names_of, server_figures
from streams.dashboard.servers import Answers, Servers, redis_figures
from streams.dashboard.workers import HELD, SILENT, Camera, Watched, Workers
from streams.frame_metrics import FrameMetrics
from streams.metrics import Metrics
from streams.scrape import Samples, parse
from streams.settings import Settings

INFO = {
    "used_memory": 3 * 1024 * 1024,
    "maxmemory": 512 * 1024 * 1024,
    "instantaneous_ops_per_sec": 70,
    "connected_clients": 4,
    "evicted_keys": 0,
    "db0": {"keys": 10, "expires": 1},
    "db2": {"keys": 5, "expires": 0},
}


def samples_of(metrics: Metrics) -> Samples:
    return parse(generate_latest(metrics.registry).decode())


class Both:
    """Two servers that said what a test gives."""

    def __init__(self, redis: dict[str, float], kafka: dict[str, float]) -> None:
        self.redis, self.kafka = Answers(5), Answers(10)
        self.redis.add(redis)
        self.kafka.add(kafka)


def lines_of(figures: Any, name: str) -> dict[str, float]:
    (figure,) = (one for one in figures if one.name == name)
    return {line: points[-1][1] for line, points in figure.lines.items()}


def test_before_the_first_answer_there_is_nothing_to_draw() -> None:
    servers: Any = Both({}, {})
    servers.redis, servers.kafka = Answers(5), Answers(10)
    assert [figure.lines for figure in server_figures(servers)] == [{}] * 5
    assert servers.redis.trouble == "not asked yet"


def test_of_redis_memory_keys_and_operations_are_drawn() -> None:
    servers: Any = Both(dict(redis_figures(INFO)), {})
    figures = server_figures(servers)
    assert lines_of(figures, "Redis memory") == {"used": 3.0, "limit": 512.0}
    assert lines_of(figures, "Redis keys") == {"keys": 15.0}
    assert lines_of(figures, "Redis operations") == {"operations": 70.0}
    assert "limit" not in redis_figures({**INFO, "maxmemory": 0})


@pytest.mark.parametrize("missing", sorted(INFO))
def test_a_redis_that_says_less_is_charted_for_what_it_says(missing: str) -> None:
    """As one that somebody else runs may."""
    said = redis_figures({name: value for name, value in INFO.items() if name != missing})
    servers: Any = Both(dict(said), {})
    assert any(figure.lines for figure in server_figures(servers))
    assert _summary(said).endswith(" keys")


def test_an_error_of_one_server_that_nobody_foresaw_ends_the_asking_of_both() -> None:
    """Who begins it anew would otherwise ask once more each time."""
    watching: Any = Servers(Settings())
    asked: list[str] = []

    async def redis_says() -> dict[str, float]:
        raise KeyError("used_memory")

    def kafka_says() -> dict[str, float]:
        asked.append("kafka")
        return {}

    watching._redis_says, watching._kafka_says = redis_says, kafka_says

    async def use() -> set[Any]:
        for _ in range(3):
            with pytest.raises(KeyError, match="used_memory"):
                await watching.watch()
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(use()) == set()
    assert len(asked) <= 3


def test_of_kafka_brokers_replicas_and_each_groups_lag_are_drawn() -> None:
    said = {"brokers": 3.0, "under-replicated": 2.0, "lag tocsin-fraud transactions": 7.0}
    figures = server_figures(Both({}, said))  # type: ignore[arg-type]
    assert lines_of(figures, "Kafka") == {"brokers": 3.0, "under-replicated": 2.0}
    assert lines_of(figures, "Lag by group") == {"tocsin-fraud transactions": 7.0}


def test_old_answers_go() -> None:
    answers = Answers(every_s=300)
    for number in range(5):
        answers.add({"n": number})
    assert [figures["n"] for _, figures in answers.all] == [2, 3, 4]


def test_a_worker_names_its_network_and_the_inputs_that_drift_most() -> None:
    metrics, worker = Metrics("fraud"), Watched("http://a:1")
    assert model_of(worker) == ""
    metrics.serves("fraud", "2", "abcdef0123")
    metrics.ready.set(1)
    for name, value in {"a": 0.1, "b": 0.4, "c": 0.3, "d": 0.2}.items():
        metrics.drift(name).set(value)
    samples = samples_of(metrics)
    worker.answers.extend((second, samples) for second in range(8))
    assert model_of(worker) == "fraud 2 (abcdef01)"
    assert lines_of(figures_of([Readings(worker)]), "Drift") == {
        "fraud b": 0.4,
        "fraud c": 0.3,
        "fraud d": 0.2,
    }


def test_workers_of_one_agent_have_a_line_each() -> None:
    workers = [Watched(f"http://host:{port}") for port in (1, 2, 3)]
    assert names_of(workers) == [worker.address for worker in workers]
    for worker, agent in zip(workers, ("fraud", "fraud", "labels"), strict=True):
        metrics = Metrics(agent)
        metrics.ready.set(1)
        metrics.set_lag(0, 5)
        worker.answers.extend((second, samples_of(metrics)) for second in range(8))
    assert lines_of(figures_of([Readings(one) for one in workers]), "Lag") == {
        "fraud host:1": 5.0,
        "fraud host:2": 5.0,
        "labels": 5.0,
    }


def answering(count: int) -> tuple[Watched, Callable[[], None]]:
    """A worker that has answered so often, and what makes it answer once more, a second later."""
    metrics, worker, seconds = Metrics("fraud"), Watched("http://a:1"), itertools.count()
    metrics.ready.set(1)

    def answer() -> None:
        second = next(seconds)
        metrics.events.inc(100 + second)
        metrics.batch_size.observe(10)
        metrics.latency.observe(0.02)
        metrics.drift("amount").set(second)
        worker.answers.append((float(second), samples_of(metrics)))

    for _ in range(count):
        answer()
    return worker, answer


def test_lines_that_grow_are_those_that_are_made_at_once() -> None:
    worker, answer = answering(0)
    growing, whole = Readings(worker), Watched("http://a:1", answers=deque(maxlen=KEPT))
    assert [figure.lines for figure in figures_of([growing])] == [{}] * 7
    for _ in range(KEPT + 20):
        answer()
        whole.answers.append(worker.answers[-1])
        growing.update()
    grown = figures_of([growing])
    assert grown == figures_of([Readings(whole)])
    assert lines_of(grown, "Throughput") == {"fraud": 100 + KEPT + 17}
    assert lines_of(grown, "Batch fill") == {"fraud": 10}
    for figure in grown:
        for points in figure.lines.values():
            assert len(points) == KEPT - 5
            assert points[0][0] == 25


def test_of_a_workers_answers_the_last_few_are_held_and_a_quarter_of_an_hour_of_lines() -> None:
    worker, answer = answering(0)
    readings = Readings(worker)
    for _ in range(KEPT):
        answer()
        readings.update()
    assert len(worker.answers) == HELD <= 32
    (line,) = (one for one in figures_of([readings]) if one.name == "Lag")
    assert len(line.lines["fraud"]) == KEPT - 5


def test_how_right_the_alerts_were_is_followed_by_kind_and_rule() -> None:
    metrics, worker = Metrics("labels"), Watched("http://a:1")
    for second in range(8):
        metrics.precision.set(0.5 + second / 16)
        metrics.objects_judged({"gate": (4, 3)})
        worker.answers.append((float(second), samples_of(metrics)))
    # What is not known yet, recall, has no line; a second labels worker says the same.
    found = figures_of([Readings(worker), Readings(worker)])
    (lines,) = (figure.lines for figure in found if figure.name == "Verdicts")
    assert {name: points[-1] for name, points in lines.items()} == {
        "fraud, precision": (7.0, 0.9375),
        "gate, precision": (7.0, 0.75),
    }


def test_an_answer_is_worked_out_once_whoever_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[float] = []

    def counted(at: float, samples: Samples) -> readings.Reading:
        made.append(at)
        return reading_of(at, samples)

    reading_of = readings.reading_of
    monkeypatch.setattr(readings, "reading_of", counted)
    monkeypatch.setattr(series, "FRESH_S", 0.0)
    worker, answer = answering(8)
    servers: Any = Both({}, {})
    charts = Charts([worker], servers)
    for _ in range(3):
        charts.now()
    answer()
    charts.now()
    assert made == list(range(9))
    monkeypatch.setattr(series, "FRESH_S", 60.0)
    answer()
    assert charts.now() is charts.now()
    assert len(made) == 9


def test_cameras_of_a_worker_that_does_not_answer_are_down() -> None:
    workers = Workers(["http://a:1", "http://b:1"])
    assert workers.cameras() == {}
    for worker, seen in zip(workers.all, (7_000, 9_000), strict=True):
        metrics, frames = Metrics("vision"), FrameMetrics()
        frames.register(metrics.registry)
        frames.seen("gate/north", seen, up=True)
        worker.answers.append((0.0, samples_of(metrics)))
        worker.reasons = []
    assert workers.cameras() == {"gate/north": Camera(up=True, last_frame=9_000, frames={})}
    workers.all[1].reasons = [SILENT]
    # Another one has taken it over, though it has not seen a newer frame yet.
    assert workers.cameras() == {"gate/north": Camera(up=True, last_frame=7_000, frames={})}
    workers.all[0].reasons = [SILENT]
    assert workers.cameras() == {"gate/north": Camera(up=False, last_frame=9_000, frames={})}

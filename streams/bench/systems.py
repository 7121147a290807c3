"""Runs one system over a preloaded topic and measures it.

Each run has a consumer group and an alerts topic of its own, and counts only when the group has
committed the whole topic.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from streams.admin import connect
from streams.app.agent import open_store
from streams.bench.assignment import Assignment
from streams.bench.report import Throughput
from streams.bench.servers import Servers
from streams.bench.subject import Program, Worker
from streams.bench.workload import CURRENCY, create_topic
from streams.errors import TocsinError
from streams.reading import read_topic
from streams.scrape import Samples
from streams.settings import KafkaSettings, Settings

LIMIT_S: Final = 300.0
"""No system may take longer over one topic."""

COMMIT_S: Final = 20.0
"""A commit goes out within a second; a group that has just been left is asked again."""

STAGES: Final = ("prepare", "infer", "publish", "flush")

System = Literal["tocsin", "faust", "loop"]
_PROGRAMS: Final[Mapping[str, str]] = {"faust": "plain_faust", "loop": "loop"}


class _Detail(msgspec.Struct):
    tx_id: str


class _Alert(msgspec.Struct):
    """What is common to the alerts of all systems."""

    tx_id: str | None = None
    detail: _Detail | None = None


_decode_alert = msgspec.json.Decoder(_Alert).decode


def on_servers(settings: Settings, servers: Servers) -> Settings:
    """Give the settings of the command with the addresses of `servers`."""
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": servers.bootstrap})
    redis = settings.redis.model_copy(update={"url": servers.redis_url})
    return settings.model_copy(update={"kafka": kafka, "redis": redis})


def measure(system: System, settings: Settings, topic: str, events: int) -> Throughput:
    """Run `system` over the `events` records of `topic`.

    Raises:
        ServerFailed: it ended early or took longer than five minutes.
        TocsinError: it did not commit what it had taken.
    """
    group = fresh(system)
    alerts_topic = f"{group}-alerts"
    create_topic(settings.kafka, alerts_topic)
    if system == "tocsin":
        throughput = _tocsin(settings, topic, alerts_topic, group, events)
        forget(settings, group)
    else:
        assignment = Assignment(
            bootstrap=settings.kafka.bootstrap_servers,
            topic=topic,
            alerts_topic=alerts_topic,
            group=group,
            events=events,
            report="",
            model=None if settings.fraud.model is None else str(settings.fraud.model.resolve()),
            threshold=settings.fraud.threshold,
        )
        throughput = _program(_PROGRAMS[system], settings.kafka, assignment)
    throughput.alerted.update(asyncio.run(_alerted(settings.kafka, alerts_topic)))
    return throughput


def fresh(stem: str) -> str:
    """Return a name that nothing else has."""
    return f"bench-{stem}-{uuid.uuid4().hex[:8]}"


def forget(settings: Settings, group: str, *, shared: bool = False) -> None:
    """Delete the state of a worker that is gone."""
    store = open_store(settings, group, shared=shared)
    try:
        store.clear()
    finally:
        store.close()


def fraud_worker(settings: Settings, topic: str, alerts_topic: str, group: str) -> Worker:
    """Make a fraud worker on `topic`; its state is in Redis under `group`."""
    model, threshold = settings.fraud.model, settings.fraud.threshold
    environment = {
        "TOCSIN_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_REDIS__URL": settings.redis.url,
        "TOCSIN_TOPICS__TRANSACTIONS": topic,
        "TOCSIN_TOPICS__ALERTS": alerts_topic,
        "TOCSIN_TOPICS__FORGOTTEN": settings.topics.forgotten,
        "TOCSIN_FRAUD__GROUP": group,
        "TOCSIN_FRAUD__CURRENCY": CURRENCY,
        "TOCSIN_LABELS__GROUP": f"{group}-labels",
        **({} if model is None else {"TOCSIN_FRAUD__MODEL": str(model.resolve())}),
        **({} if threshold is None else {"TOCSIN_FRAUD__THRESHOLD": repr(threshold)}),
    }
    return Worker("fraud", environment)


def _tocsin(
    settings: Settings, topic: str, alerts_topic: str, group: str, events: int
) -> Throughput:
    with fraud_worker(settings, topic, alerts_topic, group) as worker:
        worker.watch()
        seen = worker.wait_for("tocsin_acknowledged_total", events, LIMIT_S)
        started = seen.get("tocsin_first_event_timestamp_seconds")
        finished = seen.get("tocsin_last_progress_timestamp_seconds")
        check_committed(settings.kafka, group, topic)
        return Throughput(
            events=round(seen.get("tocsin_acknowledged_total")),
            seconds=finished - started,
            cpu_s=worker.cpu_between(started, finished),
            peak_rss_mib=worker.peak_rss_mib(),
            alerts=round(seen.get("tocsin_alerts_total")),
            stages_us=_by_event(seen, "tocsin_stage_cpu_seconds_total", events),
            stages_wall_us=_by_event(seen, "tocsin_stage_seconds_total", events),
        )


def _by_event(samples: Samples, name: str, events: int) -> dict[str, float]:
    return {stage: samples.get(name, stage=stage) * 1e6 / events for stage in STAGES}


def _program(module: str, kafka: KafkaSettings, assignment: Assignment) -> Throughput:
    with Program(module, assignment) as program:
        program.watch()
        measured = program.result(LIMIT_S)
        check_committed(kafka, assignment.group, assignment.topic)
        return Throughput(
            events=measured.events,
            seconds=measured.finished_at - measured.started_at,
            cpu_s=program.cpu_between(measured.started_at, measured.finished_at),
            peak_rss_mib=measured.peak_rss_mib,
            alerts=measured.alerts,
        )


def check_committed(kafka: KafkaSettings, group: str, topic: str) -> None:
    """Return once `group` has committed every record of `topic`.

    Raises:
        TocsinError: it has not after a while.
    """
    deadline = time.monotonic() + COMMIT_S
    with connect(kafka) as cluster:
        while left := cluster.lag(group, topic):
            if time.monotonic() > deadline:
                raise TocsinError(f"{group} left {left} records of {topic} uncommitted")
            time.sleep(0.2)


async def _alerted(kafka: KafkaSettings, topic: str) -> set[str]:
    """Return the ids of the transactions that `topic` has alerts on."""
    found = set()
    async for records in read_topic(kafka, topic, from_beginning=True, follow=False):
        for record in records:
            alert = _decode_alert(record.value)
            found.add(alert.detail.tx_id if alert.detail else str(alert.tx_id))
    return found

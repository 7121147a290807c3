"""Faust as its guide shows it: its own transport, ``take``, alerts sent through a topic.

Run as ``python -m streams.bench.plain_faust ASSIGNMENT``.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faust

from streams.bench.assignment import Assignment, Measured, read_assignment, write_report
from streams.bench.job import Job

TAKE = 1024
WITHIN_S = 0.05
COMMIT_INTERVAL_S = 1.0


def build(assignment: Assignment) -> Any:
    """Build the app; it ends its process once the assigned number of events is done."""
    job = Job(Path(assignment.model) if assignment.model else None, assignment.threshold)
    app = faust.App(
        assignment.group,
        broker=f"kafka://{assignment.bootstrap}",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=COMMIT_INTERVAL_S,
        producer_linger_ms=0,
        producer_acks=-1,
        datadir=tempfile.mkdtemp(prefix="tocsin-bench-"),
    )
    source = app.topic(assignment.topic, value_serializer="raw", key_serializer="raw")
    target = app.topic(assignment.alerts_topic, value_serializer="raw", key_serializer="raw")
    started_at = 0.0

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def score(stream: Any) -> None:
        nonlocal started_at
        async for values in stream.take(TAKE, within=WITHIN_S):
            started_at = started_at or time.time()
            sent = [await target.send(key=key, value=value) for key, value in job.run(values)]
            if sent:
                await asyncio.gather(*sent)  # `send` only queues
            if job.events >= assignment.events:
                report(time.time())

    def report(finished_at: float) -> None:
        write_report(
            assignment,
            Measured(
                started_at=started_at, finished_at=finished_at, events=job.events, alerts=job.alerts
            ),
        )
        # The last commit goes out with the interval, outside the time that is measured.
        asyncio.get_running_loop().call_later(2.5 * COMMIT_INTERVAL_S, os._exit, 0)

    return app


if __name__ == "__main__":
    program = build(read_assignment())
    sys.argv = ["plain_faust", "worker", "--loglevel", "warn", "--without-web"]
    program.main()

"""A hand-written loop over confluent-kafka: consume a batch, score it, produce, flush, commit.

Run as ``python -m streams.bench.loop ASSIGNMENT``.
"""

from __future__ import annotations

import time
from pathlib import Path

from confluent_kafka import Consumer, Message, Producer

from streams.bench.assignment import Assignment, Measured, read_assignment, write_report
from streams.bench.job import Job

BATCH = 4096
WAIT_S = 0.05
FLUSH_S = 30.0


def main(assignment: Assignment) -> None:
    """Take the assigned number of events; a batch counts once it is committed."""
    job = Job(Path(assignment.model) if assignment.model else None, assignment.threshold)
    consumer = Consumer(
        {
            "bootstrap.servers": assignment.bootstrap,
            "group.id": assignment.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
    )
    producer = Producer({"bootstrap.servers": assignment.bootstrap, "acks": "all", "linger.ms": 0})
    consumer.subscribe([assignment.topic])
    started_at = 0.0
    while job.events < assignment.events:
        messages = _good(consumer.consume(BATCH, WAIT_S))
        if not messages:
            continue
        started_at = started_at or time.time()
        for key, value in job.run([message.value() for message in messages]):
            producer.produce(assignment.alerts_topic, value, key)
        if producer.flush(FLUSH_S):
            raise SystemExit("the broker did not acknowledge the alerts")
        for last in {message.partition(): message for message in messages}.values():
            consumer.store_offsets(last)
        consumer.commit(asynchronous=job.events < assignment.events)
    finished_at = time.time()
    write_report(
        assignment,
        Measured(
            started_at=started_at, finished_at=finished_at, events=job.events, alerts=job.alerts
        ),
    )
    consumer.close()


def _good(messages: list[Message]) -> list[Message]:
    for message in messages:
        if message.error():
            raise SystemExit(str(message.error()))
    return messages


if __name__ == "__main__":
    main(read_assignment())

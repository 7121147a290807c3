"""A consumer that does nothing but note how long each record was under way.

Run as ``python -m streams.bench.bare ASSIGNMENT``. aiokafka with its own defaults; the clocks are
those of one machine.
"""

from __future__ import annotations

import asyncio
import time

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.bench.assignment import (
    Assignment,
    Measured,
    announce_ready,
    read_assignment,
    write_report,
)
from streams.bench.workload import PARTITIONS


async def main(assignment: Assignment) -> None:
    """Take the assigned number of events."""
    consumer = AIOKafkaConsumer(bootstrap_servers=assignment.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(assignment.topic, p) for p in range(PARTITIONS)])
        await consumer.seek_to_beginning()
        announce_ready(assignment)
        latencies: list[float] = []
        started_at = time.time()
        while len(latencies) < assignment.events:
            fetched = await consumer.getmany(timeout_ms=1000)
            now_ms = time.time() * 1000
            latencies += [now_ms - item.timestamp for part in fetched.values() for item in part]
    finally:
        await consumer.stop()
    write_report(
        assignment,
        Measured(
            started_at=started_at,
            finished_at=time.time(),
            events=len(latencies),
            latencies_ms=latencies,
        ),
    )


if __name__ == "__main__":
    asyncio.run(main(read_assignment()))

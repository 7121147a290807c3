"""The broker and the Redis of a measurement: real ones, started here unless they are named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.devstack import KafkaBroker, RedisServer

KAFKA_JARS: Final = Path(".cache/kafka")
"""Where `make kafka` puts Apache Kafka, from the root of a checkout."""

# Old segments go seconds, not minutes, after their retention has ended: a long measurement
# produces more than a disk holds.
_KAFKA: Final = {
    "log.retention.check.interval.ms": "2000",
    "log.segment.delete.delay.ms": "1000",
}

# State outlives the process, as in production: written to disk about every second.
_REDIS: Final = ("--appendonly", "yes", "--appendfsync", "everysec")


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the two listen."""

    bootstrap: str
    redis_url: str


@contextmanager
def servers(bootstrap: str | None, redis_url: str | None) -> Iterator[Servers]:
    """Give the servers that are named, and start the others for the time of the block.

    Raises:
        ServerMissing: Java, Apache Kafka or redis-server is not on this machine.
        ServerFailed: one of them did not start.
    """
    with ExitStack() as stack:
        if bootstrap is None:
            bootstrap = stack.enter_context(KafkaBroker(KAFKA_JARS.resolve(), _KAFKA)).bootstrap
        if redis_url is None:
            redis_url = stack.enter_context(RedisServer(args=_REDIS)).url
        yield Servers(bootstrap, redis_url)

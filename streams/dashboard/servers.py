"""What Redis and Kafka say about themselves, asked every few seconds and kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from streams.admin import connect
from streams.errors import TocsinError
from streams.settings import Settings
from streams.state.redis_client import open_async_client, translated
from streams.topics import readers, topic_table

REDIS_EVERY_S: Final = 5.0
KAFKA_EVERY_S: Final = 10.0
"""Each time with a connection of its own, which costs some milliseconds of a core."""

KEPT_S: Final = 900.0

_MIB: Final = 1024 * 1024

_SAID: Final = (
    ("used", "used_memory", _MIB),
    ("limit", "maxmemory", _MIB),
    ("ops", "instantaneous_ops_per_sec", 1),
    ("clients", "connected_clients", 1),
    ("evicted", "evicted_keys", 1),
)
"""Figures, what ``INFO`` calls them, and what they are divided by."""

Figures = Mapping[str, float]
"""Values by name, as of one moment."""


class Answers:
    """What a server said, (epoch seconds, figures), the newest last; `trouble` if it is silent."""

    def __init__(self, every_s: float) -> None:
        self.every_s = every_s
        self.all: deque[tuple[float, Figures]] = deque(maxlen=round(KEPT_S / every_s))
        self.trouble = "not asked yet"

    def add(self, figures: Figures) -> None:
        """Keep an answer of now."""
        self.all.append((time.time(), figures))
        self.trouble = ""

    @property
    def latest(self) -> Figures:
        """The newest answer; empty before the first."""
        return self.all[-1][1] if self.all else {}


class Servers:
    """Watches the Redis and the Kafka of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = open_async_client(settings.redis)
        self.redis, self.kafka = Answers(REDIS_EVERY_S), Answers(KAFKA_EVERY_S)

    async def watch(self) -> None:
        """Ask them until cancelled, or until one says what we do not understand."""
        try:
            async with asyncio.TaskGroup() as asking:
                asking.create_task(_asked(self.redis, self._redis_says))
                asking.create_task(_asked(self.kafka, partial(asyncio.to_thread, self._kafka_says)))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # the other one is cancelled
        finally:
            await self._client.aclose()

    async def _redis_says(self) -> Figures:
        with translated():
            return redis_figures(await self._client.info())

    def _kafka_says(self) -> Figures:
        settings = self._settings
        with connect(settings.kafka) as admin:
            cluster = admin.health([spec.name for spec in topic_table(settings)])
            lags = admin.lags(readers(settings, admin.groups()))
        return {
            "brokers": cluster.brokers,
            "partitions": cluster.partitions,
            "under-replicated": cluster.under_replicated,
            "without a leader": cluster.leaderless,
            **{f"lag {group} {topic}": lag for (group, topic), lag in lags.items()},
        }


async def _asked(answers: Answers, ask: Callable[[], Awaitable[Figures]]) -> None:
    while True:
        try:
            answers.add(await ask())
        except TocsinError as error:
            answers.trouble = str(error)
        await asyncio.sleep(answers.every_s)


def redis_figures(info: Mapping[str, Any]) -> Figures:
    """Choose what counts of Redis' ``INFO``: MiB, keys, operations a second, clients.

    A Redis that somebody else runs may say less; what it does not say is left out.
    """
    dbs = [db for name, db in info.items() if name.startswith("db") and "keys" in db]
    found = {"keys": float(sum(db["keys"] for db in dbs))}
    for name, said, unit in _SAID:
        if (value := info.get(said)) is not None:
            found[name] = value / unit
    if not found.get("limit", 1.0):
        del found["limit"]  # there is none
    return found

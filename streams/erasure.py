"""Erasure of cards: what is stored of them is deleted, and no rebuild from Kafka brings it back.

A compacted topic remembers up to which offsets a card is forgotten, under the card's digest. A
worker reads it before it rebuilds anything: payments below are dropped as if they had been applied.
Those that come afterwards are a new card's.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Annotated, Final

import msgspec
from aiokafka import AIOKafkaProducer

from streams import admin
from streams.app.agent import Agent
from streams.connection import async_broker_errors, start_producer
from streams.errors import TocsinError
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS
from streams.settings import KafkaSettings, Settings
from streams.state.redis import RedisStateStore
from streams.state.store import DIGEST_BYTES, digest, digests

log = logging.getLogger(__name__)

_DIGEST: Final = re.compile(rb"(?:[0-9a-f]{2}){%d}" % DIGEST_BYTES)


class Erasure(msgspec.Struct, frozen=True):
    """The value of a record on the topic; its key is ``GROUP:DIGEST`` (hexadecimal)."""

    topic: str
    topic_id: str | None
    """None where the broker gives topics none."""

    offsets: dict[int, Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]]
    """The first offset of each partition that is not forgotten."""

    at: int
    """When it was asked for, epoch ms."""


def decode_erasure(key: bytes, value: bytes) -> tuple[bytes, Erasure]:
    """Read one record of the topic: the card's digest, and up to where it is forgotten.

    Raises:
        DECODE_ERRORS: it is none.
    """
    _, _, name = key.rpartition(b":")
    if not _DIGEST.fullmatch(name):
        raise msgspec.DecodeError("its key is not that of an erasure")
    return bytes.fromhex(name.decode()), msgspec.json.decode(value, type=Erasure)


async def groups(settings: Settings) -> list[str]:
    """Name every group whose state in Redis is of the payments: one may run beside ours, or before.

    Ours is the first.

    Raises:
        BrokerError: no broker answers, or the topic does not exist.
        StoreUnavailable: no Redis answers.
        StoreRefused: it does not let us look.
    """
    ours, topic = settings.fraud.group, settings.topics.transactions
    about = await admin.describe(settings.kafka, topic)
    where = about.cluster_id, topic, about.topic_id
    with closing(RedisStateStore(settings.redis, ours)) as store:
        found = [
            one.group
            for one in store.identities()
            if (one.cluster, one.topic, one.topic_id) == where
        ]
    return list(dict.fromkeys([ours, *sorted(found)]))


async def forget(settings: Settings, cards: Sequence[str], of: Sequence[str]) -> int:
    """Forget `cards` as of what the groups `of` have processed; return how many rows that deleted.

    Their workers must have stopped. May be repeated.

    Raises:
        BrokerError: no broker answers, or a topic does not exist.
        StoreUnavailable: no Redis answers.
        StoreRefused: it does not let us write what is of a group.
        TocsinError: nothing was ever processed.
    """
    topic = settings.topics.transactions
    identity = await admin.describe(settings.kafka, topic)
    rows = [await _forget(settings, cards, group, topic, identity) for group in of]
    if all(count is None for count in rows):
        raise TocsinError(f"nothing of {topic!r} was ever processed: check fraud.group ({of[0]!r})")
    return sum(filter(None, rows))


async def _forget(
    settings: Settings, cards: Sequence[str], group: str, topic: str, identity: admin.TopicIdentity
) -> int | None:
    """Return how many rows of a group that deleted, None where it has processed nothing."""
    partitions = range(identity.partitions)
    with closing(RedisStateStore(settings.redis, group)) as store:
        # 1. A worker that is stopped for longer than its session is no member, and would flush what
        #    it holds when it goes on.
        store.fence(partitions)
        # 2. How far everything is processed: what lies behind that is still to be scored.
        with admin.connect(settings.kafka) as cluster:
            commits = cluster.committed(group, topic)
        markers = store.markers(partitions)
        stored = {p: marker + 1 for p, marker in markers.items() if marker is not None}
        offsets = {
            p: max(commits.get(p, 0), stored.get(p, 0))
            for p in sorted(commits.keys() | stored.keys())
        }
        if not offsets:
            return None
        # 3. On record first: a row that is deleted and not on record would come back.
        erasure = Erasure(topic, identity.topic_id, offsets, round(time.time() * 1000))
        await _record(settings, group, cards, erasure)
        return store.erase(list(offsets), digests(cards))


async def _record(settings: Settings, group: str, cards: Sequence[str], erasure: Erasure) -> None:
    producer: AIOKafkaProducer = await start_producer(settings.kafka)
    value = msgspec.json.encode(erasure)
    try:
        async with async_broker_errors(settings.kafka):
            for card in cards:
                key = f"{group}:{digest(card).hex()}".encode()
                await producer.send_and_wait(settings.topics.forgotten, value, key)
    finally:
        await producer.stop()


async def recall(agent: Agent, kafka: KafkaSettings, topic_id: str | None) -> None:
    """Tell an agent's table what is forgotten of the topic that it reads, in whatever group.

    A card is forgotten in the group that comes after the one that was asked to, too, and in the one
    before that is gone back to.

    Raises:
        BrokerError: the topic of erasures cannot be read.
    """
    if agent.table is None or not agent.erasures:
        return
    found: dict[tuple[int, bytes], int] = {}
    where = agent.topic, topic_id
    async for records in read_topic(kafka, agent.erasures, from_beginning=True, follow=False):
        for record in records:
            try:
                card, erasure = decode_erasure(record.key or b"", record.value or b"")
            except DECODE_ERRORS as error:
                log.warning("offset %d of %s is none: %s", record.offset, agent.erasures, error)
                continue
            if (erasure.topic, erasure.topic_id) == where:
                for partition, offset in erasure.offsets.items():
                    key = partition, card
                    found[key] = max(found.get(key, -1), offset - 1)
    agent.table.forgotten = found

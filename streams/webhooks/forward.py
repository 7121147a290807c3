"""From the alerts topic to the endpoints: every alert that one wants is taken, or a dead letter.

Each endpoint has a consumer group of its own, so that one that is away delays no other:

1. Read a batch. 2. Send what it wants, the revisions of an alert in order and alerts beside each
other; what it has taken before is left out. 3. Bury what was refused for good. 4. Commit. A process
that dies between 2 and 4 sends again only what it had not noted as sent: receivers drop a
``webhook-id`` that they have seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final, TypeVar

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.connection import async_broker_errors, consumer_options
from streams.dead_letters.sending import Send, sending
from streams.ending import end
from streams.errors import SettingsError, TocsinError
from streams.joining import Joining
from streams.pipeline.batch import Message
from streams.schemas import DECODE_ERRORS, Alert, DeadLetter, decode_alert
from streams.settings import Settings
from streams.state.redis_client import open_async_client, translated
from streams.topics import dead_topic
from streams.webhooks.endpoint import Endpoint, Refused

log = logging.getLogger(__name__)

T = TypeVar("T")
Sent = tuple[Alert, Any]
"""An alert and its record."""

_BATCH: Final = 500
"""Records a commit: while the endpoint is away, so many wait for their attempts at once."""

_POLL_MS: Final = 500
_KEEP_S: Final = 5.0
"""How often a batch under way tells the group that it is alive: attempts may take longer than the
300 s that Kafka's clients may stay away."""

_RETRY_S: Final = 2.0
_DAY_S: Final = 86_400


async def forward(settings: Settings) -> None:
    """Forward to every endpoint until cancelled.

    Raises:
        SettingsError: there is no endpoint or no Redis, or a secret or URL is not what it says.
    """
    hooks = settings.webhooks
    if not hooks.endpoints:
        raise SettingsError("webhooks.endpoints names none: docs/consume.md shows how")
    if settings.redis.in_process:
        raise SettingsError("webhooks need a Redis: redis.url is memory://")
    async with AsyncExitStack() as stack:
        redis = open_async_client(settings.redis)
        stack.push_async_callback(redis.aclose)
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=hooks.timeout_s))
        forwarders = [
            Forwarder(settings, Endpoint(name, hook, hooks, client), redis)
            for name, hook in hooks.endpoints.items()
        ]
        async with asyncio.TaskGroup() as group:
            for forwarder in forwarders:
                group.create_task(forwarder.run())


class Forwarder:
    """Forwards alerts to one endpoint while `run` runs; several share it as members of its group.

    Args:
        settings: of everything.
        endpoint: of `settings.webhooks`.
        redis: notes what was sent.
    """

    def __init__(self, settings: Settings, endpoint: Endpoint, redis: Any) -> None:
        self._settings, self._endpoint, self._redis = settings, endpoint, redis
        self._began_ms = round(time.time() * 1000)

    async def run(self) -> None:
        """Forward until cancelled; waits for what is away."""
        while True:
            try:
                await self._forward()
            except TocsinError as error:
                log.warning("webhook %s stands still: %s", self._endpoint.name, error)
            await asyncio.sleep(_RETRY_S)

    async def _forward(self) -> None:
        kafka = self._settings.kafka
        async with async_broker_errors(kafka):
            consumer = AIOKafkaConsumer(
                **consumer_options(kafka),
                group_id=self._settings.webhooks.groups()[self._endpoint.name],
                auto_offset_reset="earliest",  # of a place that is older than what is left
                session_timeout_ms=round(kafka.session_timeout_s * 1000),
                heartbeat_interval_ms=round(kafka.heartbeat_interval_s * 1000),
                rebalance_timeout_ms=round(kafka.rebalance_timeout_s * 1000),
            )
            joining = Joining(consumer, partial(self._begin, consumer))
            try:
                await consumer.start()
                consumer.subscribe([self._settings.topics.alerts], listener=joining)
                log.info("forwarding to %s", self._endpoint.name)
                async with sending(kafka) as bury:
                    while True:
                        # 1. Read.
                        fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
                        joining.check()
                        if fetched:
                            await self._step(consumer, joining, fetched, bury)
            finally:
                await consumer.stop()

    async def _begin(self, consumer: Any, partitions: Iterable[TopicPartition]) -> tuple[()]:
        """Begin a partition that has no commit at the time when this process began.

        The place is committed at once: a process that dies before its first batch loses none.
        """
        fresh = [one for one in partitions if await consumer.committed(one) is None]
        if fresh:
            ends = await consumer.end_offsets(fresh)  # before the times: none comes in between
            found = await consumer.offsets_for_times(dict.fromkeys(fresh, self._began_ms))
            places = {
                one: ends[one] if (at := found.get(one)) is None else at.offset for one in fresh
            }
            for one, place in places.items():
                consumer.seek(one, place)
            await consumer.commit(places)
        return ()

    async def _step(
        self, consumer: Any, joining: Joining, fetched: dict[TopicPartition, Any], bury: Send
    ) -> None:
        records = [record for found in fetched.values() for record in found]
        alerts = [(alert, record) for record in records for alert in _decoded(record)]
        # 2. Send.
        refused = await _keeping_its_place(consumer, joining, self._send_all(alerts))
        # 3. Bury what was refused, and only then remember that it is done with.
        if refused:
            await bury(list(refused.values()))
            for key in refused:
                await self._remember(key)
        # 4. Commit what is still ours.
        ours = consumer.assignment()
        await consumer.commit(
            {one: found[-1].offset + 1 for one, found in fetched.items() if one in ours}
        )

    async def _send_all(self, alerts: Sequence[Sent]) -> dict[str, Message]:
        """Send what the endpoint wants; return dead letters of what it refused.

        The letters are by the key under which to remember that they are buried.

        Raises:
            StoreError: Redis does not serve; nothing is committed.
        """
        chains: dict[str, dict[str, Sent]] = {}
        for alert, record in alerts:
            if self._endpoint.wants(alert):
                key = self._key(alert.event_id)
                chains.setdefault(alert.id, {})[key] = alert, record
        known = await self._remembered([key for chain in chains.values() for key in chain])
        # Who fails waits for the others, so that nothing is sent behind our back.
        found = await asyncio.gather(
            *(
                self._send({key: sent for key, sent in chain.items() if key not in known})
                for chain in chains.values()
            ),
            return_exceptions=True,
        )
        refused: dict[str, Message] = {}
        for letters in found:
            if isinstance(letters, BaseException):
                raise letters
            refused |= letters
        return refused

    async def _send(self, chain: Mapping[str, Sent]) -> dict[str, Message]:
        """Send messages on one alert in their order."""
        name = self._endpoint.name
        refused: dict[str, Message] = {}
        for key, (alert, record) in chain.items():
            try:
                await self._endpoint.send(alert.event_id, record.value)
            except Refused as error:
                log.warning("webhook %s did not take an alert: %s", name, error)
                refused[key] = self._letter(record, f"webhook {name}: {error}")
            else:
                await self._remember(key)
        return refused

    async def _remembered(self, keys: Sequence[str]) -> set[str]:
        """Choose the events that had their fate at the endpoint before."""
        with translated():
            asking = self._redis.pipeline(transaction=False)
            for key in keys:
                asking.exists(key)
            return {key for key, known in zip(keys, await asking.execute(), strict=True) if known}

    async def _remember(self, key: str) -> None:
        """Note that an event had its fate."""
        with translated():
            days = self._settings.webhooks.remember_days
            await self._redis.set(key, b"", ex=round(days * _DAY_S))

    def _key(self, event_id: str) -> str:
        text = f"{self._endpoint.name} {event_id}"
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return f"{self._settings.webhooks.group}:sent:{name}"

    def _letter(self, record: Any, reason: str) -> Message:
        letter = DeadLetter(
            value=record.value,
            key=record.key,
            headers=tuple(record.headers),
            reason=reason,
            step="webhook",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp,
        )
        topic = dead_topic(self._settings, self._settings.topics.alerts)
        return Message(topic, record.key, record.value, letter.to_headers(), record.partition)


async def _keeping_its_place(consumer: Any, joining: Joining, work: Awaitable[T]) -> T:
    """Await `work`, however long it takes, as a live member of the group that fetches nothing."""
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=_KEEP_S))[0]:
            consumer.pause(*consumer.assignment())
            for one, records in (await consumer.getmany(timeout_ms=0)).items():
                consumer.seek(one, records[0].offset)  # given to us just now: read later
        return task.result()
    finally:
        await end(task)
        if not joining.is_beginning:
            consumer.resume(*consumer.paused())


def _decoded(record: Any) -> list[Alert]:
    try:
        return [decode_alert(record.value or b"")]
    except DECODE_ERRORS:
        return []  # somebody else's record on the topic

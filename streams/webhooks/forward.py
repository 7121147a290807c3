"""From the alerts topic to the endpoints: every alert that one wants is taken, or a dead letter.

1. Read a batch. 2. Send to all endpoints at once, to each in order; what one has taken before is
left out. 3. Bury what was refused for good. 4. Commit. A process that dies between 2 and 4 sends
again only what it had not noted as sent: receivers drop a ``webhook-id`` that they have seen.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import httpx
from aiokafka import AIOKafkaConsumer

from streams.connection import broker_errors, client_options
from streams.dead_letters.sending import Send, sending
from streams.errors import SettingsError, TocsinError
from streams.pipeline.batch import Message
from streams.schemas import DECODE_ERRORS, Alert, DeadLetter, decode_alert
from streams.settings import Settings
from streams.state.redis_client import open_async_client, translated
from streams.topics import dead_topic
from streams.webhooks.endpoint import Endpoint, Refused

log = logging.getLogger(__name__)

_BATCH: Final = 50
_POLL_MS: Final = 500
_RETRY_S: Final = 2.0
_DAY_S: Final = 86_400


class Forwarder:
    """Forwards alerts while `run` runs; several share the work as members of one group."""

    def __init__(self, settings: Settings) -> None:
        if not settings.webhooks.endpoints:
            raise SettingsError("webhooks.endpoints names none: docs/consume.md shows how")
        if settings.redis.in_process:
            raise SettingsError("webhooks need a Redis: redis.url is memory://")
        self._settings = settings
        self._redis = open_async_client(settings.redis)
        self._endpoints: list[Endpoint] = []

    async def run(self) -> None:
        """Forward until cancelled; waits for what is away.

        Raises:
            SettingsError: an endpoint's secret is not what it says.
        """
        hooks = self._settings.webhooks
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._redis.aclose)
            client = await stack.enter_async_context(httpx.AsyncClient(timeout=hooks.timeout_s))
            self._endpoints = [
                Endpoint(name, hook, hooks, client) for name, hook in hooks.endpoints.items()
            ]
            while True:
                try:
                    await self._forward()
                except TocsinError as error:
                    log.warning("webhooks stand still: %s", error)
                await asyncio.sleep(_RETRY_S)

    async def _forward(self) -> None:
        kafka = self._settings.kafka
        with broker_errors(kafka):
            consumer = AIOKafkaConsumer(
                self._settings.topics.alerts,
                **client_options(kafka),
                group_id=self._settings.webhooks.group,
                enable_auto_commit=False,
                auto_offset_reset="latest",
                session_timeout_ms=round(kafka.session_timeout_s * 1000),
                heartbeat_interval_ms=round(kafka.heartbeat_interval_s * 1000),
                rebalance_timeout_ms=round(kafka.rebalance_timeout_s * 1000),
            )
            try:
                await consumer.start()
                log.info("forwarding to %s", ", ".join(one.name for one in self._endpoints))
                async with sending(kafka) as bury:
                    while True:
                        await self._step(consumer, bury)
            finally:
                await consumer.stop()

    async def _step(self, consumer: Any, bury: Send) -> None:
        # 1. Read.
        fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_BATCH)
        records = [record for found in fetched.values() for record in found]
        alerts = [(alert, record) for record in records for alert in _decoded(record)]
        if alerts:
            # 2. Send; who fails waits for the others, so that nothing is sent behind our back.
            sent = await asyncio.gather(
                *(self._send(one, alerts) for one in self._endpoints), return_exceptions=True
            )
            refused: dict[str, Message] = {}
            for found in sent:
                if isinstance(found, BaseException):
                    raise found
                refused |= found
            # 3. Bury what was refused, and only then remember that it is done with.
            if refused:
                await bury(list(refused.values()))
                for key in refused:
                    await self._remember(key)
        # 4. Commit.
        if fetched:
            await consumer.commit()

    async def _send(
        self, endpoint: Endpoint, alerts: Sequence[tuple[Alert, Any]]
    ) -> dict[str, Message]:
        """Send what `endpoint` wants and has not taken yet; return dead letters of what it refused.

        The letters are by the key under which to remember that they are buried.

        Raises:
            StoreError: Redis does not serve; nothing is committed.
        """
        refused: dict[str, Message] = {}
        for alert, record in alerts:
            key = self._key(endpoint.name, alert.event_id)
            if not endpoint.wants(alert):
                continue
            with translated():
                if await self._redis.exists(key):
                    continue
            try:
                await endpoint.send(alert.event_id, record.value)
            except Refused as error:
                log.warning("webhook %s did not take an alert: %s", endpoint.name, error)
                refused[key] = self._letter(record, f"webhook {endpoint.name}: {error}")
            else:
                await self._remember(key)
        return refused

    async def _remember(self, key: str) -> None:
        """Note that an event had its fate at an endpoint."""
        with translated():
            days = self._settings.webhooks.remember_days
            await self._redis.set(key, b"", ex=round(days * _DAY_S))

    def _key(self, endpoint: str, event_id: str) -> str:
        name = hashlib.blake2b(f"{endpoint} {event_id}".encode(), digest_size=16).hexdigest()
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


def _decoded(record: Any) -> list[Alert]:
    try:
        return [decode_alert(record.value or b"")]
    except DECODE_ERRORS:
        return []  # somebody else's record on the topic

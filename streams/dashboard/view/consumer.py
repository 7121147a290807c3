"""From the topics into the view: one member of the dashboards' consumer group.

Kafka says who reads which partition; how far the view has come stands in Redis, beside the view. A
Redis that was emptied is filled again from the topics, as far back as the view reaches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from typing_extensions import override

from streams.admin import describe, log_ends
from streams.connection import broker_errors, client_options
from streams.dashboard.view.records import is_open
from streams.dashboard.view.store import ViewStore
from streams.errors import TocsinError
from streams.schemas import (
    DECODE_ERRORS,
    Action,
    Alert,
    ObjectLabel,
    TransactionLabel,
    decode_action,
    decode_alert,
    decode_label,
)
from streams.settings import Settings

log = logging.getLogger(__name__)

_POLL_MS: Final = 200
_FETCH_MS: Final = 50
_RECORDS: Final = 1_000
_RETRY_S: Final = 2.0
_DAY_MS: Final = 86_400_000
_EARLY: Final = 20_000
"""Verdicts remembered whose alert may still come."""


class ViewConsumer:
    """Applies alerts, verdicts and what people did, for as long as `run` runs."""

    def __init__(self, settings: Settings, store: ViewStore) -> None:
        self._settings, self._store = settings, store
        self._keep_ms = round(settings.dashboard.days * _DAY_MS)
        self._early: OrderedDict[str, tuple[TransactionLabel, int]] = OrderedDict()
        self._ids: dict[str, str] = {}  # topic: what names it among those made under its name
        self._ends: dict[str, int] = {}  # of the alerts, before which verdicts wait
        self.waiting_for: str | None = "starting"
        """Why the view stands still, if it does."""

    async def run(self) -> None:
        """Consume until cancelled; waits for what is away."""
        while True:
            try:
                await self._consume()
            except TocsinError as error:
                self.waiting_for = str(error)
                log.warning("the view stands still: %s", error)
            await asyncio.sleep(_RETRY_S)

    async def _consume(self) -> None:
        topics, kafka = self._settings.topics, self._settings.kafka
        names = [topics.alerts, topics.labels, topics.audit]
        for name in names:
            self._ids[name] = (await describe(kafka, name)).topic_id or name
        ends = await log_ends(kafka, topics.alerts)
        self._ends = {self._name(topics.alerts, number): end for number, end in ends.items() if end}
        with broker_errors(kafka):
            consumer = AIOKafkaConsumer(
                **client_options(kafka),
                group_id=self._settings.dashboard.group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=_FETCH_MS,
                session_timeout_ms=round(kafka.session_timeout_s * 1000),
                heartbeat_interval_ms=round(kafka.heartbeat_interval_s * 1000),
                rebalance_timeout_ms=round(kafka.rebalance_timeout_s * 1000),
                max_partition_fetch_bytes=kafka.max_partition_fetch_bytes,
            )
            try:
                await consumer.start()
                consumer.subscribe(names, listener=_Assigned(self, consumer))
                while True:
                    await self._step(consumer)
            finally:
                await consumer.stop()

    async def assigned(self, consumer: Any, partitions: Iterable[TopicPartition]) -> None:
        """Begin where the view ends; where it knows nothing, as far back as it reaches."""
        known = await self._store.positions()
        fresh = []
        for one in partitions:
            position = known.get(self._name(one.topic, one.partition))
            if position is None:
                fresh.append(one)
            else:
                consumer.seek(one, position)
        if fresh:
            since = round(time.time() * 1000) - self._keep_ms
            found = await consumer.offsets_for_times(dict.fromkeys(fresh, since))
            starts = await consumer.beginning_offsets(fresh)
            for one in fresh:
                at = found.get(one)
                # Nothing so young: to read what is older changes nothing, and no record is missed.
                consumer.seek(one, starts[one] if at is None else at.offset)
        self._hold_back(consumer)

    def _hold_back(self, consumer: Any) -> None:
        """Let verdicts wait for the alerts that were there before them."""
        later = [one for one in consumer.assignment() if one.topic != self._settings.topics.alerts]
        if later and self._ends:
            consumer.pause(*later)

    async def _let_go(self, consumer: Any) -> None:
        if not self._ends:
            return
        known = await self._store.positions()
        self._ends = {name: end for name, end in self._ends.items() if known.get(name, 0) < end}
        if not self._ends:
            consumer.resume(*consumer.paused())

    async def _step(self, consumer: Any) -> None:
        fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS)
        if consumer.assignment():
            self.waiting_for = "catching up" if self._ends else None
        for partition, records in fetched.items():
            await self._apply(partition.topic, records)
            name = self._name(partition.topic, partition.partition)
            await self._store.advance({name: records[-1].offset + 1})
        await self._let_go(consumer)
        if fetched:
            await consumer.commit(
                {partition: records[-1].offset + 1 for partition, records in fetched.items()}
            )

    async def _apply(self, topic: str, records: list[Any]) -> None:
        topics = self._settings.topics
        if topic == topics.alerts:
            await self._apply_alerts(_decoded(records, decode_alert))
        elif topic == topics.labels:
            labels: list[tuple[TransactionLabel | ObjectLabel, int]] = _decoded(
                records, decode_label
            )
            offsets = {id(label): offset for label, offset in labels}
            for label in await self._store.put_labels(labels):
                self._early.pop(label.tx_id, None)
                self._early[label.tx_id] = label, offsets[id(label)]
            while len(self._early) > _EARLY:
                self._early.popitem(last=False)
        else:
            actions: list[tuple[Action, int]] = _decoded(records, decode_action)
            await self._store.put_actions([action for action, _ in actions])

    async def _apply_alerts(self, found: list[tuple[Alert, int]]) -> None:
        oldest = round(time.time() * 1000) - self._keep_ms
        alerts = [one for one, _ in found if one.processed_at >= oldest or is_open(one)]
        await self._store.put_alerts(alerts)
        names = (str(alert.detail.get("tx_id")) for alert in alerts if alert.kind == "fraud")
        early = [self._early.pop(name) for name in names if name in self._early]
        await self._store.put_labels(early)

    def _name(self, topic: str, partition: int) -> str:
        return f"{self._ids[topic]}:{partition}"


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    def __init__(self, view: ViewConsumer, consumer: Any) -> None:
        self._view, self._consumer = view, consumer

    @override
    async def on_partitions_revoked(self, revoked: Any) -> None:
        """What is under way is applied again by whoever comes next, and changes nothing."""

    @override
    async def on_partitions_assigned(self, assigned: Any) -> None:
        await self._view.assigned(self._consumer, assigned)


def _decoded(records: Iterable[Any], decode: Any) -> list[tuple[Any, int]]:
    """Decode what can be, with offsets; other records on the topic are somebody else's."""
    found = []
    for record in records:
        try:
            found.append((decode(record.value or b""), record.offset))
        except DECODE_ERRORS:
            continue
    return found

"""From the topics into the view: one member of the dashboards' consumer group.

Kafka says who reads which partition; how far the view has come stands in Redis, beside the view. A
Redis that was emptied or set back, also meanwhile, is filled again from the topics, as far back as
the view reaches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterable
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.admin import describe, log_ends
from streams.connection import async_broker_errors, broker_error_of, consumer_options
from streams.dashboard.view.records import LONGEST_SUPPRESSION_MS, is_open
from streams.dashboard.view.store import LOST, ViewStore
from streams.errors import StoreError, TocsinError
from streams.joining import Joining
from streams.schemas import DECODE_ERRORS, Alert, decode_action, decode_alert, decode_label
from streams.settings import Settings

log = logging.getLogger(__name__)

_POLL_MS: Final = 200
_FETCH_MS: Final = 50
_RECORDS: Final = 1_000
_RETRY_S: Final = 2.0
_DAY_MS: Final = 86_400_000
_LOOK_S: Final = 2.0
"""How often a Redis to which nothing is written is asked whether it still has the view."""

_SILENT_S: Final = 5.0
"""A fetch gives nothing for a broker that hangs as for one without news: then it is asked."""

_ANSWER_S: Final = 5.0


class ViewConsumer:
    """Applies alerts, verdicts and what people did, for as long as `run` runs."""

    def __init__(self, settings: Settings, store: ViewStore) -> None:
        self._settings, self._store = settings, store
        self._keep_ms = round(settings.dashboard.days * _DAY_MS)
        self._places: dict[str, int] = {}  # partitions of ours: all before is in the view
        self._looked_at = 0.0
        self._ids: dict[str, str] = {}  # topic: what names it among those made under its name
        self._ends: dict[str, int] = {}  # of the alerts, before which verdicts wait
        self._has_joined = False  # with partitions or, beside enough others, without
        self._heard_at = time.monotonic()  # when the broker was last known to be there
        self.waiting_for: str | None = "starting"
        """Why the view stands still, if it does."""

        self.waiting_since = round(time.time() * 1000)
        """Since when it does, or last did (ms)."""

    async def run(self) -> None:
        """Consume until cancelled; waits for what is away."""
        while True:
            try:
                await self._consume()
            except TocsinError as error:
                self._wait(str(error))
            await asyncio.sleep(_RETRY_S)

    def _wait(self, why: str, ago_s: float = 0.0) -> None:
        """Say why the view stands still; it began to, if it did not yet, so long ago."""
        if self.waiting_for is None:
            self.waiting_since = round((time.time() - ago_s) * 1000)
        if why != self.waiting_for:
            log.warning("the view stands still: %s", why)
        self.waiting_for = why

    async def _consume(self) -> None:
        self._has_joined = False
        topics, kafka = self._settings.topics, self._settings.kafka
        names = [topics.alerts, topics.labels, topics.audit]
        for name in names:
            self._ids[name] = (await describe(kafka, name)).topic_id or name
        async with async_broker_errors(kafka):
            consumer = AIOKafkaConsumer(
                **consumer_options(kafka),
                group_id=self._settings.dashboard.group,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=_FETCH_MS,
                session_timeout_ms=round(kafka.session_timeout_s * 1000),
                heartbeat_interval_ms=round(kafka.heartbeat_interval_s * 1000),
                rebalance_timeout_ms=round(kafka.rebalance_timeout_s * 1000),
                max_partition_fetch_bytes=kafka.max_partition_fetch_bytes,
            )
            joining = Joining(consumer, partial(self.begin, consumer))
            try:
                await consumer.start()
                consumer.subscribe(names, listener=joining)
                while True:
                    fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_RECORDS)
                    joining.check()
                    if fetched or await self._is_there(consumer):
                        await self._step(consumer, fetched)
            finally:
                await consumer.stop()

    async def _is_there(self, consumer: Any) -> bool:
        """Tell whether the broker is there, asking it after a silence; waits for it while not."""
        if time.monotonic() - self._heard_at < _SILENT_S:
            return True
        first = TopicPartition(self._settings.topics.alerts, 0)
        return await self._answers(consumer.end_offsets(consumer.assignment() or {first}))

    async def _answers(self, asked: Awaitable[Any]) -> bool:
        """Await what the broker was asked; False, and the view waits, where it takes too long."""
        try:
            await asyncio.wait_for(asked, _ANSWER_S)
        except TimeoutError as error:
            silent_s = time.monotonic() - self._heard_at
            self._wait(str(await broker_error_of(error, self._settings.kafka)), silent_s)
            return False
        self._heard_at = time.monotonic()
        return True

    async def begin(
        self, consumer: Any, partitions: Iterable[TopicPartition]
    ) -> list[TopicPartition]:
        """Begin where the view ends; where it knows nothing, as far back as it reaches.

        What retention has deleted after that counts as read: where nothing follows it, the view
        would wait for it for ever. Verdicts wait for the alerts that were there before them.
        """
        self._ends = {}
        names = {one: self._name(one.topic, one.partition) for one in partitions}
        starts = await consumer.beginning_offsets(list(names))
        known = await self._store.positions()
        for one, name in names.items():
            if (place := known.get(name)) is not None and place < starts[one]:
                await self._store.advance(name, place, starts[one])
                known[name] = starts[one]
        fresh = [one for one, name in names.items() if name not in known]
        if fresh:
            begin = await self._beginnings(consumer, fresh, starts)
            await self._store.begin({names[one]: place for one, place in begin.items()})
            known = await self._store.positions()
            if not known.keys() >= set(names.values()):
                raise StoreError(LOST)
        self._places = {name: known[name] for name in names.values()}
        for one, name in names.items():
            consumer.seek(one, known[name])
        alerts = self._settings.topics.alerts
        ends = await log_ends(self._settings.kafka, alerts)
        self._ends = {self._name(alerts, number): end for number, end in ends.items() if end}
        self._has_joined = True
        return [one for one in names if one.topic != alerts] if self._ends else []

    async def _beginnings(
        self,
        consumer: Any,
        partitions: list[TopicPartition],
        starts: dict[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Find where the view begins; of what people did, where the longest suppression may."""
        now, audit = round(time.time() * 1000), self._settings.topics.audit
        reach = {
            one: max(self._keep_ms, LONGEST_SUPPRESSION_MS) if one.topic == audit else self._keep_ms
            for one in partitions
        }
        found = await consumer.offsets_for_times({one: now - ms for one, ms in reach.items()})
        # Nothing so young: to read what is older changes nothing, and no record is missed.
        return {
            one: starts[one] if (at := found.get(one)) is None else at.offset for one in partitions
        }

    async def _let_go(self, consumer: Any) -> None:
        if not self._ends:
            return
        known = await self._store.positions()
        self._ends = {name: end for name, end in self._ends.items() if known.get(name, 0) < end}
        if not self._ends:
            consumer.resume(*consumer.paused())

    async def _step(self, consumer: Any, fetched: dict[TopicPartition, list[Any]]) -> None:
        if fetched:
            self._heard_at = time.monotonic()
        for partition, records in fetched.items():
            await self._apply(partition.topic, records)
            name, end = self._name(partition.topic, partition.partition), records[-1].offset + 1
            if (since := self._places.get(name)) is not None:  # else it is another one's by now
                await self._store.advance(name, since, end)
                self._places[name] = end
        await self._look()
        await self._let_go(consumer)
        ours = consumer.assignment()
        if self._has_joined and self._ends:
            self._wait("catching up")
        elif self._has_joined:
            self.waiting_for = None
        ends = {one: records[-1].offset + 1 for one, records in fetched.items() if one in ours}
        if ends:
            await self._answers(consumer.commit(ends))

    async def _look(self) -> None:
        """See that Redis still has what was put there.

        Raises:
            StoreError: it has not.
        """
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        known = await self._store.positions()
        if any(known.get(name, -1) < place for name, place in self._places.items()):
            raise StoreError(LOST)

    async def _apply(self, topic: str, records: list[Any]) -> None:
        topics = self._settings.topics
        if topic == topics.alerts:
            oldest = round(time.time() * 1000) - self._keep_ms
            wanted, ends = sorted_out([one for one, _ in _decoded(records, decode_alert)], oldest)
            await self._store.put_alerts(wanted)
            await self._store.put_ends(ends)
        elif topic == topics.labels:
            await self._store.put_labels(_decoded(records, decode_label))
        else:
            actions = [action for action, _ in _decoded(records, decode_action)]
            await self._store.put_actions(actions)

    def _name(self, topic: str, partition: int) -> str:
        return f"{self._ids[topic]}:{partition}"


def sorted_out(alerts: Iterable[Alert], oldest: int) -> tuple[list[Alert], list[Alert]]:
    """Tell what the view takes in from what only ends an alert that it may hold already.

    Taken in is what was processed since `oldest` (ms), and what is older and goes on, unless an
    end of it is among `alerts`.
    """
    wanted, ends = list[Alert](), dict[str, Alert]()
    for alert in alerts:
        if alert.processed_at >= oldest or is_open(alert):
            wanted.append(alert)
        elif alert.revision > 0:  # one that is complete from the start ends nothing
            ends[alert.id] = alert
    return [one for one in wanted if one.processed_at >= oldest or one.id not in ends], list(
        ends.values()
    )


def _decoded(records: Iterable[Any], decode: Any) -> list[tuple[Any, int]]:
    """Decode what can be, with offsets; other records on the topic are somebody else's."""
    found = []
    for record in records:
        try:
            found.append((decode(record.value or b""), record.offset))
        except DECODE_ERRORS:
            continue
    return found

"""A card's transactions around one of them, read from where they are kept: the topic itself.

The card is the key, so all of them are in one partition, between those of many other cards. How far
that reaches depends on how many there are: it is told, and no more is read.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.admin import describe
from streams.connection import async_broker_errors, consumer_options
from streams.errors import TopicMissing
from streams.schemas import DECODE_ERRORS, Source, decode_score, decode_transaction
from streams.settings import Settings

BEFORE: Final = 20_000
"""Records of the partition that are looked through before the one that is asked about."""

AFTER: Final = 5_000
MOST: Final = 60
"""Transactions of the card that are given."""

_SHARE_AFTER: Final = 4
"""One in so many of them lies after the one that is asked about, where there are enough before."""

_WITHIN_S: Final = 5.0
_LEAD_MS: Final = 2_000
"""A score is sent after its transaction; clocks of two machines may be this far apart."""

_LATE_MS: Final = 60_000
"""What is not scored by then, by a worker that is behind, is given without."""

_CHUNK: Final = 5_000
"""Records that are held at a time."""

MOST_SCORES: Final = 200_000
"""Scores that are looked through: as many as 2,500 a second and partition are in such a span."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One transaction; `score` is None where none was published, `offset` where it lies."""

    offset: int
    tx_id: str
    event_time: int
    amount: float
    currency: str
    terminal_id: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Payments:
    """What was found, in order of the topic.

    Attributes:
        found: of the card, `MOST` at most around the one that was asked about; see `near`.
        looked: records that were looked through; 0 where the topic is gone.
        is_all_before: whether they reach back to where the topic begins.
        has_all_scores: whether every score that was published was looked for where it may be.
    """

    found: Sequence[Payment]
    looked: int
    is_all_before: bool
    has_all_scores: bool = True


class CardPayments:
    """Reads the topics of transactions and scores; one question at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()

    async def around(self, card_id: str, source: Source) -> Payments:
        """Find a card's transactions around the one at `source`, with what they were scored.

        Raises:
            BrokerError: no broker answers, or it refuses us.
        """
        async with self._lock:
            if source.partition >= await self._partitions(source.topic):
                return Payments((), 0, is_all_before=False)
            return await self._around(card_id, source)

    async def _around(self, card_id: str, source: Source) -> Payments:
        key, looked = card_id.encode(), 0
        found, sent = list[Payment](), dict[int, int]()  # when, by offset (ms)
        async with self._consumer() as consumer:
            where = TopicPartition(source.topic, source.partition)
            first, end = await _bounds(consumer, where)
            begin = max(first, source.offset - BEFORE)
            async for chunk in _chunks(consumer, where, begin, min(end, source.offset + AFTER)):
                looked += len(chunk)
                for record in chunk:
                    if record.key == key and (one := _payment(record, card_id)) is not None:
                        found.append(one)
                        sent[one.offset] = record.timestamp
            shown, has_all = near(found, source.offset, MOST), True
            if shown and self._settings.fraud.publish_scores:
                span = sent[shown[0].offset] - _LEAD_MS, sent[shown[-1].offset] + _LATE_MS
                wanted = {one.tx_id for one in shown}
                scores, has_all = await self._scores(consumer, where, key, wanted, span)
                shown = [replace(one, score=scores.get(one.tx_id)) for one in shown]
        return Payments(shown, looked, begin == first, has_all)

    async def _scores(
        self,
        consumer: Any,
        source: TopicPartition,
        key: bytes,
        wanted: Collection[str],
        span: tuple[int, int],
    ) -> tuple[dict[str, float], bool]:
        """Scores by tx_id, sent in a span (ms); and whether it was read as far as it takes.

        They are keyed by card too, so they are in the partition of the same number.
        """
        topic, found = self._settings.topics.scores, dict[str, float]()
        if await self._partitions(topic) != await self._partitions(source.topic):
            return found, False
        where = TopicPartition(topic, source.partition)
        _, end = await _bounds(consumer, where)
        begin, until = [(await consumer.offsets_for_times({where: at}))[where] for at in span]
        if begin is None:
            return found, True
        end = end if until is None else until.offset
        cut = min(end, begin.offset + MOST_SCORES)
        async for chunk in _chunks(consumer, where, begin.offset, cut):
            for record in chunk:
                if record.key == key:
                    try:
                        score = decode_score(record.value or b"")
                    except DECODE_ERRORS:
                        continue
                    if score.tx_id in wanted:
                        found[score.tx_id] = score.score
            if len(found) == len(wanted):
                return found, True
        is_read = begin.offset >= cut or await consumer.position(where) >= cut
        return found, is_read and cut == end

    async def _partitions(self, topic: str) -> int:
        try:
            return (await describe(self._settings.kafka, topic)).partitions
        except TopicMissing:
            return 0

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[Any]:
        async with async_broker_errors(self._settings.kafka):
            consumer = AIOKafkaConsumer(
                **consumer_options(self._settings.kafka),
                group_id=None,
                fetch_max_wait_ms=50,
                max_partition_fetch_bytes=self._settings.kafka.max_partition_fetch_bytes,
            )
            try:
                await consumer.start()
                yield consumer
            finally:
                await consumer.stop()


def near(payments: Sequence[Payment], offset: int, most: int) -> Sequence[Payment]:
    """Choose `most` at most: those up to and including the one at `offset`, then some after it.

    `payments` are in order of the topic, and so is what is chosen. Where few lie on one side, more
    are taken of the other.
    """
    until = bisect_right([one.offset for one in payments], offset)
    after = min(len(payments) - until, max(most // _SHARE_AFTER, most - until))
    return payments[max(until - (most - after), 0) : until + after]


async def _bounds(consumer: Any, where: TopicPartition) -> tuple[int, int]:
    consumer.assign([where])
    first = (await consumer.beginning_offsets([where]))[where]
    return first, (await consumer.end_offsets([where]))[where]


async def _chunks(
    consumer: Any, where: TopicPartition, begin: int, end: int
) -> AsyncIterator[list[Any]]:
    """Read offsets from `begin` to before `end`, or what comes of them in time."""
    if begin >= end:
        return
    consumer.seek(where, begin)
    loop = asyncio.get_running_loop()
    until = loop.time() + _WITHIN_S
    while loop.time() < until and await consumer.position(where) < end:
        fetched = await consumer.getmany(where, timeout_ms=200, max_records=_CHUNK)
        for records in fetched.values():
            yield [record for record in records if record.offset < end]


def _payment(record: Any, card_id: str) -> Payment | None:
    try:
        one = decode_transaction(record.value or b"")
    except DECODE_ERRORS:
        return None  # a dead letter by now
    if one.card_id != card_id:
        return None
    return Payment(
        record.offset, one.tx_id, one.event_time, one.amount, one.currency, one.terminal_id
    )

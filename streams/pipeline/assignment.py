"""What a worker does when the consumer group gives it partitions or takes them back.

A partition is claimed before anything of it is loaded, started where neither Kafka's commit nor the
stored state is passed over, and given back once all that was under way is stored:

1. `assigned`: claim it in the store; whoever owned it before can write no more.
2. `starts`: find its first offset; an agent with an outbox says first what was left pending.
3. `revoked`: flush, forget its rows, let go of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NoReturn, Protocol, TypeVar

from streams.errors import BrokerError, ForeignState, TopicMissing
from streams.metrics import Metrics
from streams.pipeline.batch import Message, Publisher
from streams.pipeline.dead_letter import Buried
from streams.pipeline.delivery import Delivery
from streams.state.store import StateStore
from streams.status import Status

log = logging.getLogger(__name__)

T = TypeVar("T")


class TopicLog(Protocol):
    """What the cluster says of an agent's topic.

    A `BrokerError` is waited out and the question asked again, a `TopicMissing` is not.
    """

    name: str

    async def identity(self) -> bytes:
        """Say what the state of the topic belongs to; see `streams.state.store.Identity`."""

    async def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        """Return the first offset that each partition still holds."""

    async def ends(self) -> Mapping[int, int]:
        """Return the end of each partition, of all that the topic has."""

    async def holds_records(self, partition: int, first: int, end: int) -> bool:
        """Whether there is, or was, a record at `first` or between it and `end`."""

    async def buried(self, spans: Mapping[int, range]) -> Mapping[int, Buried]:
        """Find out which records within `spans` of partitions lie in the dead-letter topic.

        Reads all of that topic, and is asked only where something is to be rebuilt.
        """


class Resume(Protocol):
    """How an agent with an outbox goes on where another worker stopped."""

    async def messages(self, partition: int, *, lost: bool) -> Sequence[Message]:
        """Give what must go out before the partition's first record, `lost` or not its state.

        Raises `BrokerError` when Kafka must be asked and does not answer: the caller waits.
        """


class Assignment:
    """The partitions that a worker holds. Use from one event loop.

    Args:
        topic: the agent's.
        store: the agent's.
        delivery: told where each partition begins, and to let go of it.
        publisher: takes what was left pending.
        metrics: count what is gone.
        recall: awaited once, before the first partition is read; may raise `BrokerError`, which is
            waited out.
        status: told what is waited for, and when the group has been joined.
        resume: for an agent with an outbox, whose state is not rebuilt from the topic.
        fail: ends the process.
    """

    def __init__(
        self,
        *,
        topic: TopicLog,
        store: StateStore,
        delivery: Delivery,
        publisher: Publisher,
        metrics: Metrics,
        status: Status,
        resume: Resume | None,
        recall: Callable[[], Awaitable[None]] | None = None,
        fail: Callable[[BaseException], NoReturn],
    ) -> None:
        self._topic, self._store, self._delivery = topic, store, delivery
        self._publisher, self._status, self._resume = publisher, status, resume
        self._metrics, self._recall = metrics, recall
        self._fail = fail
        self._positions = delivery.positions
        self._claimed: set[int] = set()
        self._is_claimed = asyncio.Event()

    async def assigned(self, partitions: Sequence[int], generation: int) -> None:
        """Claim the partitions, before anything of theirs is loaded.

        Raises:
            Fenced: a later generation owns one of them.
            ForeignState: the state belongs to another topic.
            TopicMissing: the topic is gone.
        """
        # Since the checks before joining the topic may have been deleted and made again, which is
        # a rebalance to us. Gone, it ends the process: a restart waits for it and says so.
        identity = await self._patiently(self._topic.identity)
        await asyncio.to_thread(self._store.identify, identity)
        markers = await asyncio.to_thread(self._store.claim, partitions, generation)
        self._positions.markers.update(
            {partition: marker for partition, marker in markers.items() if marker is not None}
        )
        self._claimed.update(partitions)
        self._is_claimed.set()
        if not partitions:
            self._status.joined()
        log.info("assigned partitions %s in generation %d", partitions, generation)

    async def revoked(self, partitions: set[int]) -> None:
        """Let go of partitions, once everything in flight is flushed and acknowledged."""
        self._status.left()
        self._is_claimed.clear()
        self._claimed -= partitions
        if partitions:
            await self._delivery.release(partitions)
            log.info("gave back partitions %s", sorted(partitions))

    async def starts(self, committed: Mapping[int, int | None]) -> Mapping[int, int]:
        """Find where to start each partition; a failure ends the process.

        Faust asks beside its rebalance, not after it: before the partitions are claimed, or still
        for some that were given back. What it then finds of their state would look lost.

        Args:
            committed: Kafka's commit by partition, None for none.
        """
        await self._is_claimed.wait()
        ours = {one: commit for one, commit in committed.items() if one in self._claimed}
        try:
            return await self._starts(ours) if ours else {}
        except Exception as error:  # noqa: BLE001 - ends the process
            self._fail(error)

    async def _starts(self, committed: Mapping[int, int | None]) -> Mapping[int, int]:
        """Start from min(commit, marker + 1); what lies before the commit is applied quietly.

        But for what was buried there, whatever would be made of it today.
        """
        earliest = await self._topic.earliest(committed.keys())
        ends = await self._patiently(self._topic.ends)
        if self._recall is not None:
            await self._patiently(self._recall)
            self._recall = None  # once: who forgets a card stops the workers first
        buried = await self._buried(committed, earliest)
        starts = {}
        for partition, commit in committed.items():
            if partition not in self._claimed:  # any more
                continue
            marker = self._positions.markers.get(partition)
            check_marker(self._topic.name, partition, marker, ends[partition])
            first = earliest[partition]
            if self._resume is not None:
                starts[partition] = await self._go_on(self._resume, partition, commit, first)
                continue
            stored = 0 if marker is None else marker + 1
            done = max(stored, commit or 0)
            if commit is not None and (lacking := min(done, first) - stored) > 0:
                self._metrics.unrebuilt.inc(lacking)
                log.error(
                    "partition %d of %s: offsets %d to %d are no longer retained: the state that "
                    "is rebuilt lacks them",
                    *(partition, self._topic.name, stored, stored + lacking - 1),
                )
            if marker is not None or commit is not None:
                self.gone(partition, done, first)
            start = self._start(partition, commit, first)
            self._positions.begin(
                partition,
                start,
                quiet_below=commit or 0,
                buried=buried.get(partition),
                done_below=stored,
            )
            starts[partition] = start
        self._status.joined()
        return starts

    def _start(self, partition: int, commit: int | None, first: int) -> int:
        stored = self._positions.markers.get(partition, -1) + 1
        return max(stored if commit is None else min(commit, stored), first)

    async def _buried(
        self, committed: Mapping[int, int | None], earliest: Mapping[int, int]
    ) -> Mapping[int, Buried]:
        """Find out what a rebuild passes over, if there is any rebuild.

        Where only transaction markers lie between the state and the commit there is none.
        """
        if self._resume is not None:
            return {}
        starts = {one: self._start(one, at, earliest[one]) for one, at in committed.items()}
        spans = {one: range(starts[one], at or 0) for one, at in committed.items()}
        rebuilt = {one: span for one, span in spans.items() if span}
        for partition, span in rebuilt.items():
            if await self._holds_records(partition, span.start, span.stop):
                return await self._patiently(lambda: self._topic.buried(rebuilt))
        return {}

    def gone(self, partition: int, first: int, end: int) -> None:
        """Say that offsets from `first` to before `end`, if any, can never be read; any thread."""
        if first >= end:
            return
        self._metrics.gone.inc(end - first)
        log.error(
            "partition %d of %s: offsets %d to %d are gone, nothing was made of them: retention "
            "is shorter than this agent was behind",
            *(partition, self._topic.name, first, end - 1),
        )

    async def _go_on(self, resume: Resume, partition: int, commit: int | None, first: int) -> int:
        """Start an agent with an outbox at the commit: nothing is rebuilt.

        1. A partition whose marker is gone, or older than the commit, has lost its state.
        2. What must be known before its first record goes out: pending alerts, or ends.
        3. What the marker covers is done with.
        """
        marker = self._positions.markers.get(partition)
        lost = await self._is_lost(partition, marker, commit)  # Step 1.
        if lost:
            await asyncio.to_thread(self._store.forget, partition)
            marker = None
            self._positions.markers.pop(partition, None)
        messages = await self._patiently(lambda: resume.messages(partition, lost=lost))  # Step 2.
        await self._publisher.publish(messages)
        start = first if commit is None else max(commit, first)
        done_below = 0 if marker is None else marker + 1  # Step 3.
        if commit is not None:
            self.gone(partition, max(commit, done_below), first)
        self._positions.begin(partition, start, done_below=done_below)
        return start

    async def _is_lost(self, partition: int, marker: int | None, commit: int | None) -> bool:
        """Whether records were committed that the state has not seen.

        A commit runs past transaction markers, of which nothing comes to the store. One at 0 is
        that of a beginning.
        """
        if not commit or (marker is not None and marker + 1 >= commit):
            return False
        if marker is None:
            return True
        return await self._holds_records(partition, marker + 1, commit)

    async def _holds_records(self, partition: int, first: int, end: int) -> bool:
        return await self._patiently(lambda: self._topic.holds_records(partition, first, end))

    async def _patiently(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask the cluster; wait for a broker that is away."""
        with self._status.waiting("Kafka") as wait:
            while True:
                try:
                    return await question()
                except TopicMissing:
                    raise
                except BrokerError as error:
                    await asyncio.sleep(wait.because(error))


def check_marker(topic: str, partition: int, marker: int | None, end: int) -> None:
    """Raise `ForeignState` if the state covers offsets that the partition does not have."""
    if marker is not None and marker >= end:
        raise ForeignState(
            f"the state belongs to another topic: it covers offset {marker} of partition "
            f"{partition} of {topic!r}, which ends at {end}: run tocsin state rebuild"
        )

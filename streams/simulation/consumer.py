"""What Faust does around the delivery, in the order in which they do it.

Read beside `streams/transport/consumer.py`, whose rules of seeking stand here once more;
the ledger and the scheduler are its own. Faust's order of a rebalance:

1. Stop the flow, commit what is done; forget the floor of commits.
2. Drop what no agent has taken up, wait for what one has, commit again.
3. Tell the application; drop the ledger; join again.
4. Tell the application what it got, and beside that seek to where it wants to start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from streams.errors import ForeignState, Stuck, TransportError
from streams.pipeline.assignment import Assignment
from streams.pipeline.delivery import Delivery
from streams.simulation.broker import TOPIC, Broker, Membership
from streams.simulation.commits import TP, Commits
from streams.simulation.faults import Faults
from streams.simulation.fetcher import FETCH_S, Fetcher
from streams.transport.offsets import BatchLedger
from streams.transport.scheduler import BatchScheduler
from streams.transport.schema import RecordBatch

BUFFERED = 4
"""Batches that wait for the agent before fetching pauses."""


@dataclass(eq=False, slots=True)
class Event:
    """A Faust event with a partition batch in it."""

    value: RecordBatch
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """Sizes and times."""

    max_batch: int
    fetch: int
    """Records of one partition that one fetch brings."""

    commit_interval_s: float
    drain_timeout_s: float


class RoundRobin:
    """Faust's scheduler: one batch of each partition in turn."""

    def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
        """Return what one fetch brought, in the order of delivery."""
        turns = {tp: iter(batches) for tp, batches in records.items()}
        while turns:
            for tp in list(turns):
                item = next(turns[tp], None)
                if item is None:
                    del turns[tp]
                else:
                    yield tp, item


class Consumer:
    """One member of the group, from joining it to its end. Use from one event loop."""

    def __init__(
        self,
        *,
        member: Membership,
        broker: Broker,
        assignment: Assignment,
        delivery: Delivery,
        limits: ConsumerLimits,
        faults: Faults,
        delay: Callable[[], float],
        notice: Callable[[], Awaitable[None]],
        fail: Callable[[BaseException], NoReturn],
    ) -> None:
        self.member = member
        self._broker, self._group = broker, broker.group
        self._assignment, self._delivery = assignment, delivery
        self._limits, self._faults, self._delay, self._fail = limits, faults, delay, fail
        self._notice = notice
        self._ledger = BatchLedger()
        self._scheduler = BatchScheduler(
            RoundRobin(), ledger=self._ledger, max_records={TOPIC: limits.max_batch}
        )
        self._commits = Commits(
            member=member, group=broker.group, ledger=self._ledger, faults=faults, delay=delay
        )
        self._fetcher = Fetcher(member, broker, self._ledger, limits.fetch, delay)
        self._queue: asyncio.Queue[Event] = asyncio.Queue(BUFFERED)
        self._unacked: set[Event] = set()
        self._acked = asyncio.Event()
        self._room = asyncio.Event()
        self._flow = asyncio.Event()
        self._assigned: tuple[int, ...] = ()
        self.started: dict[int, int] = {}
        """Where each partition was last started."""

        self._generation, self._placed = -1, -2
        self._seeking = asyncio.Lock()
        self._stopping = False
        self._suspended = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Join the group and consume."""
        self._delivery.start(acknowledge=self._acknowledge)
        for work in (
            self._attend,
            self._fetch,
            self._deliver,
            self._commit_for_ever,
            self._notice,
        ):
            self._spawn(work)

    @property
    def reachable(self) -> bool:
        """Whether the broker answers this consumer."""
        return self.member.reachable

    @reachable.setter
    def reachable(self, reachable: bool) -> None:
        self.member.reachable = reachable
        self.member.hear()
        self._broker.wake()

    async def stop(self) -> None:
        """Finish what was taken up, commit, leave: SIGTERM."""
        self._stopping = True
        await self._drain()
        self._group.leave(self.member)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.ensure_future(self._ended(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ended(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - ends the process
            self._fail(error)

    # -- the group ----------------------------------------------------------------------------
    async def _attend(self) -> None:
        while not self._stopping:
            await self._group.join(self.member)
            if self.member.is_out:
                continue
            await self._get(self.member.partitions)
            await self.member.must_rejoin.wait()
            if not self._stopping:
                await self._give_back()

    async def _get(self, partitions: tuple[int, ...]) -> None:
        self._assigned = self._commits.assigned = partitions
        self._generation = self.member.generation
        self._fetcher.assign(partitions)
        self._spawn(partial(self._resume, self._generation))  # Step 4: beside what follows.
        await self._assignment.assigned(list(partitions), self._generation)

    async def _resume(self, generation: int) -> None:
        """What Faust's recovery does where there are no tables.

        It gives up on a seek that takes too long, by then longer than a fetch can be under way,
        and lets the flow go on without it.
        """
        await asyncio.sleep(self._delay())
        self._fetcher.resume()
        if self._faults.strikes("seek given up"):
            await asyncio.sleep(FETCH_S)
        else:
            await self._seek(generation)
        if generation == self._generation and not self._fetcher.is_reassigning:
            self._flow.set()

    async def _give_back(self) -> None:
        self._placed = -2
        self._fetcher.is_reassigning = True
        self._stop_flow()  # Step 1.
        await self._commits.commit()
        self._commits.forget_floor()
        if self._assigned:
            await self._drain()  # Step 2.
        await self._assignment.revoked(set(self._assigned))  # Step 3.
        for partition in self._assigned:
            self._ledger.moved(TP(TOPIC, partition))
            self._ledger.drop(TP(TOPIC, partition))
        self._commits.forget_owed()
        self._assigned = self._commits.assigned = ()

    def _stop_flow(self) -> None:
        self._flow.clear()
        self._suspended += 1
        self._room.set()

    async def _drain(self) -> None:
        self._stop_flow()
        while not self._queue.empty():
            self._queue.get_nowait()
        late = Stuck("could not finish in time")
        deadline = asyncio.get_running_loop().call_later(
            self._limits.drain_timeout_s, lambda: self._fail(late)
        )
        while self._unacked:
            await self._commits.commit()
            if self._unacked:
                self._acked.clear()
                await self._acked.wait()
        await self._commits.commit()
        deadline.cancel()

    # -- fetching -----------------------------------------------------------------------------
    async def _fetch(self) -> None:
        while True:
            await self._flow.wait()
            generation = self._generation
            if self._placed != generation:
                await self._seek(generation)
                continue
            records = await self._fetcher.take()
            if self._faults.strikes("fetch delayed"):
                await asyncio.sleep(0.2 + 20 * self._delay())
            generation = self._generation
            if self._placed != generation:
                continue  # fetched before the seek: it comes again
            if not self._flow.is_set():
                await self._seek(generation)  # as Faust does with what comes too late
                continue
            for _, batch in self._scheduler.iterate(records):
                if not self._flow.is_set() or generation != self._generation:
                    break
                await self._offer(Event(batch))

    async def _offer(self, event: Event) -> None:
        """Hand an event to the agent, unless the flow is stopped before there is room for it."""
        suspended = self._suspended
        while self._queue.full() and suspended == self._suspended:
            self._room.clear()
            await self._room.wait()
        if suspended == self._suspended:
            self._queue.put_nowait(event)

    async def _seek(self, generation: int) -> None:
        async with self._seeking:
            commits = {one: self._group.commits.get(one) for one in self._assigned}
            await asyncio.sleep(self._delay())
            if self._placed == generation and self._flow.is_set():
                return
            found = {partition: at for partition, at in commits.items() if at is not None}
            starts = await self._assignment.starts(commits)
            self.started.update(starts)
            found.update(starts)
            if generation != self._generation:
                return
            self._fetcher.seek({one: found.get(one, 0) for one in self._assigned})
            self._commits.known(commits)
            self._placed = generation

    async def _deliver(self) -> None:
        while True:
            event = await self._queue.get()
            self._room.set()
            self._unacked.add(event)
            batch = event.value
            if self._ledger.is_stale(batch.tp, batch.offset.move):
                await self._acknowledge(event)
                continue
            try:
                self._ledger.take(batch.tp, batch.offset)
                await self._delivery.accept(event)
            except (ForeignState, TransportError) as error:
                self._fail(error)

    # -- acknowledging and committing ---------------------------------------------------------
    async def _acknowledge(self, event: Event) -> None:
        event.value.offset.done = True
        event.acknowledged = True
        self._unacked.discard(event)
        self._acked.set()

    async def _commit_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._limits.commit_interval_s)
            await self._commits.commit()

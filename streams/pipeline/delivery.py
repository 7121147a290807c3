"""The delivery contract: every record published or dead-lettered, then stored, then acknowledged.

One partition batch after another goes through these steps, and their order is the guarantee:

1. Decode; what does not fit becomes a dead letter     (prepare thread)
2. Load rows, drop what was applied before             (prepare thread)
3. Score in batches, in offset order by entity         (inference thread)
4. Publish alerts and dead letters, await the broker   (event loop)
5. Flush rows and marker in one fenced transaction     (flush thread, about every 200 ms)
6. Publish what the flush stored as pending            (event loop)
7. Acknowledge to Faust, which commits to Kafka        (event loop)

A crash between 4 and 5 publishes the same ids again, one between 5 and 7 replays records that
step 2 drops. Alerts that a replay might not raise again, because it sees other frames, are held
for step 6: the flush stores them, and a start publishes what it finds pending. A batch that fails
is never retried in place, because preparing it has advanced its rows: see
`streams.pipeline.recovery`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from streams.metrics import Metrics
from streams.pipeline.backlog import Backlog
from streams.pipeline.batch import Batch, CameraKey, Message, Outcome, Publisher
from streams.pipeline.job import Job, Limits, ends_of, joined
from streams.pipeline.lane import Lane
from streams.pipeline.positions import Positions
from streams.pipeline.recovery import Recovery
from streams.state.store import StateStore
from streams.status import Status
from streams.tracing import BatchTraces, NoTraces

log = logging.getLogger(__name__)

DEPTH = 3
"""Batches under way: one prepared while one is inferred, one waiting so that neither idles."""

Acknowledge = Callable[[Any], Awaitable[object]]


class Delivery:
    """Takes an agent's events through the steps. Use from one event loop."""

    def __init__(
        self,
        *,
        lane: Lane,
        store: StateStore,
        publisher: Publisher,
        metrics: Metrics,
        status: Status,
        limits: Limits,
        fail: Callable[[BaseException], None],
        traces: BatchTraces | None = None,
    ) -> None:
        self._lane, self._store, self._publisher = lane, store, publisher
        self._metrics, self._limits = metrics, limits
        self._fail, self._traces = fail, traces or NoTraces()
        self._acknowledge: Acknowledge | None = None
        self.positions = Positions(status)
        self._recovery = Recovery(
            lane, self._publish, self._write, self._release, self.positions.covered
        )
        self._backlog = Backlog(max_records=limits.max_batch, wait_s=limits.batch_wait_s)
        self._jobs: list[Job] = []  # submitted since the last flush, in order
        self._running = 0
        self._sequence = 0
        self._is_started = False
        self._unflushed = self._unflushed_bytes = 0
        self._broken = False
        self._room = asyncio.Event()
        self._hurry = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._flushing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.stored_at = time.time()
        """When everything submitted before was last in the store."""

    def start(self, acknowledge: Acknowledge) -> None:
        """Begin the group commit; `acknowledge` takes each event whose records are all stored."""
        if self._acknowledge is None:
            self._spawn(self._flush_for_ever())
        self._acknowledge = acknowledge

    async def accept(self, event: Any) -> None:
        """Take one Faust event, a batch of one partition; wait while too much is unflushed.

        Raises:
            ForeignState: the partition's offsets went backwards.
        """
        records = len(event.value.records)
        self.positions.take(event.value)
        self._backlog.add(event)
        self._unflushed += records
        self._unflushed_bytes += event.value.size
        self._pump()
        while self._is_full():
            self._room.clear()
            await self._room.wait()

    def _is_full(self) -> bool:
        return (
            self._unflushed > self._limits.max_unflushed
            or self._unflushed_bytes > self._limits.max_unflushed_bytes
        )

    def close_silent(self, silent: Mapping[CameraKey, float]) -> None:
        """Have silent cameras closed by a batch without records, which goes the way of any other.

        It covers no offset. Where a batch has failed nothing is done: the cameras are silent still
        when that is over.
        """
        ours = {key: since for key, since in silent.items() if self.positions.holds(key[0])}
        if ours and not self._broken:
            self._sequence += 1
            batch = Batch([], np.zeros(0, np.int32), self._sequence, silent=ours)
            self._submit(Job(batch, {}, []))

    async def flush(self) -> None:
        """Flush and acknowledge everything that was submitted before the call."""
        async with self._flushing:
            jobs, self._jobs = self._jobs, []
            if jobs:
                with self._metrics.flush_seconds.time():
                    await self._flush(jobs)
            self.stored_at = time.time()

    async def release(self, partitions: set[int]) -> None:
        """Give partitions away: flush what is done, forget their rows."""
        self.positions.leave(partitions)
        await self.flush()
        await self._lane.drop(partitions)
        await asyncio.to_thread(self._store.release, sorted(partitions))
        for partition in partitions:
            self.positions.forget(partition)
            self._metrics.forget_partition(partition)

    # -- steps 1 to 4 -------------------------------------------------------------------------
    def _pump(self) -> None:
        while self._backlog and self._running < DEPTH and not self._broken:
            if self._fills_up():
                return
            self._submit(self._next_job())

    def _submit(self, job: Job) -> None:
        """Start a job here and now.

        A flush that begins before its task runs must find the batch in front of its snapshot.
        """
        self._running += 1
        self._jobs.append(job)
        job.span = self._traces.begin(job.batch.records)
        with self._traces.within(job.span):  # for both threads and the task
            self._spawn(self._run(job, self._lane.submit(job.batch)))

    def _fills_up(self) -> bool:
        """Whether the next batch waits for more records; then a timer comes back to it.

        Never while nothing is under way: idle threads gain nothing by waiting.
        """
        left_s = self._backlog.fills_for() if self._running else 0.0
        if left_s > 0 and self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(left_s, self._wake)
        return left_s > 0

    def _wake(self) -> None:
        self._alarm = None
        self._pump()

    def _next_job(self) -> Job:
        """Join waiting partition batches into one batch."""
        events, waited_s = self._backlog.take()
        if not self._is_started:
            self._metrics.started_at.set(time.time())
            self._is_started = True
        self._sequence += 1
        job = joined(events, self._sequence, self.positions)
        self._metrics.batch_size.observe(len(job.batch.records))
        self._metrics.batch_wait.observe(waited_s)
        return job

    async def _run(self, job: Job, scored: asyncio.Future[Outcome]) -> None:
        try:
            outcome = await scored
        except Exception as error:  # noqa: BLE001 - handed to the flush, which recovers from it
            self._broken = True
            job.done.set_exception(error)
            self._traces.end(job.span, error)
            return
        finally:
            self._running -= 1
        self._pump()
        await self._publish(outcome, job.span)
        job.done.set_result(outcome)
        self._traces.end(job.span)
        if outcome.held:
            self._hurry.set()  # they wait for the flush

    async def _publish(self, outcome: Outcome, span: Any = None) -> None:
        await self._send(outcome.messages, span)
        self._metrics.alerts.inc(outcome.alerts)
        self._metrics.dead_letters.inc(outcome.dead_letters)

    async def _send(self, messages: Sequence[Message], span: Any = None) -> None:
        if not messages:
            return
        with self._metrics.stage("publish"), self._traces.sending(messages, span) as sent:
            await self._publisher.publish(sent)
        now = time.time()
        for message in messages:
            if message.sent_at:
                self._metrics.latency.observe(now - message.sent_at / 1000)

    # -- steps 5 to 7 ------------------------------------------------------------------------
    async def _flush_for_ever(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._limits.flush_interval_s)
            self._hurry.clear()
            await self.flush()

    async def _flush(self, jobs: list[Job]) -> None:
        # What closes silent cameras covers no offset: its partitions' markers stay what they are.
        stored = self.positions.markers
        silent = {home: stored[home] for job in jobs for home, _ in job.batch.silent}
        markers = silent | self.positions.covered(ends_of(jobs))
        snapshot = self._lane.snapshot(jobs[-1].batch.sequence, markers)
        done = await asyncio.gather(*(job.done for job in jobs), return_exceptions=True)
        failure = next((result for result in done if isinstance(result, BaseException)), None)
        if failure is None:
            outcomes = [outcome for outcome in done if isinstance(outcome, Outcome)]
            await self._write(await snapshot, jobs[-1].batch.sequence, outcomes)
            await self._release(outcomes)
        else:
            await self._recover(jobs, failure)
        for job in jobs:
            for event in job.events:
                await self._acknowledge(event)  # type: ignore[misc]  # start() came first
        self._progressed(jobs)

    async def _write(
        self, snapshots: list[Any], sequence: int, outcomes: Sequence[Outcome]
    ) -> None:
        metrics = self._metrics
        with metrics.stage("flush"):
            await asyncio.to_thread(self._write_all, snapshots)
        metrics.flushed_rows.inc(sum(len(s.values) + len(s.blobs) for s in snapshots))
        self.positions.markers.update({one.partition: one.marker for one in snapshots})
        for outcome in outcomes:
            metrics.events.inc(outcome.events)
            metrics.replayed.inc(outcome.replayed)
            for tally in outcome.tallies:
                tally()
        await self._lane.flushed(sequence)

    async def _release(self, outcomes: Sequence[Outcome]) -> None:
        """Publish what was held until it was stored."""
        held = [message for outcome in outcomes for message in outcome.held]
        await self._send(held)
        self._metrics.alerts.inc(len(held))

    def _write_all(self, snapshots: list[Any]) -> None:
        for snapshot in snapshots:
            self._store.flush(snapshot)

    async def _recover(self, jobs: list[Job], failure: BaseException) -> None:
        """Replay everything since the last flush, also what was submitted after the failure."""
        self._metrics.failures.inc()
        log.error("a batch failed, replaying from the last flush: %s", failure)
        jobs += self._jobs
        self._jobs = []
        await asyncio.gather(*(job.done for job in jobs), return_exceptions=True)
        batches = [job.batch for job in jobs if job.batch.records]
        if not batches:
            raise failure  # of no record's making
        await self._recovery.replay(batches)
        self._broken = False
        self._pump()

    def _progressed(self, jobs: list[Job]) -> None:
        events = [event.value for job in jobs for event in job.events]
        count = sum(len(one.records) for one in events)  # what a rebuild passes over is done too
        self._unflushed -= count
        self._unflushed_bytes -= sum(one.size for one in events)
        self._room.set()
        self._metrics.acknowledged.inc(count)
        self._metrics.progress_at.set(time.time())
        for partition, marker in ends_of(jobs).items():
            self.positions.reach(partition, marker + 1)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception() or RuntimeError("lost"))

"""Bugs to plant in the product: each breaks one rule of the delivery contract and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

from streams.agents.resume import ResumeObjects
from streams.errors import Fenced
from streams.pipeline.assignment import Assignment
from streams.pipeline.batch import Batch, Message, Outcome
from streams.pipeline.delivery import Delivery
from streams.pipeline.job import Job
from streams.pipeline.lane import Lane
from streams.pipeline.positions import Positions
from streams.pipeline.publish import KafkaPublisher
from streams.pipeline.recovery import Recovery
from streams.simulation.consumer import Consumer, Event
from streams.state.memory import MemoryStateStore
from streams.state.table import EntityTable
from streams.transport.offsets import BatchLedger

Plant = Callable[[pytest.MonkeyPatch], None]


def acknowledged_before_the_flush(patch: pytest.MonkeyPatch) -> None:
    flush = Delivery._flush

    async def early(self: Delivery, jobs: list[Job]) -> None:
        for event in [event for job in jobs for event in job.events]:
            await self._acknowledge(event)  # type: ignore[misc]
        await flush(self, jobs)

    patch.setattr(Delivery, "_flush", early)


def committed_past_a_hole(patch: pytest.MonkeyPatch) -> None:
    def last_done(self: BatchLedger, tp: Any) -> int | None:
        fetched, end = self._fetched[tp], None
        while any(offset.done for offset in fetched):
            offset = fetched.popleft()
            end = offset.next_offset if offset.done else end
        return end

    patch.setattr(BatchLedger, "commit_offset", last_done)


def stale_acknowledgements_counted(patch: pytest.MonkeyPatch) -> None:
    stop = Consumer._stop_flow

    def who_had_none_goes_on(self: Consumer) -> None:  # else nothing that is stale is delivered
        if self._assigned:
            stop(self)

    patch.setattr(Consumer, "_stop_flow", who_had_none_goes_on)
    patch.setattr(BatchLedger, "is_stale", lambda self, tp, move: False)


def a_batch_behind_another_thrown_away(patch: pytest.MonkeyPatch) -> None:
    async def offer(self: Consumer, event: Event) -> None:
        if self._queue.empty():
            self._queue.put_nowait(event)

    patch.setattr(Consumer, "_offer", offer)


def replays_applied_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EntityTable, "offsets", lambda self, rows: np.full(len(rows), -1))


def stored_before_published(patch: pytest.MonkeyPatch) -> None:
    publish = Delivery._publish

    async def later(self: Delivery, *what: Any) -> None:
        asyncio.get_running_loop().call_later(0.3, lambda: self._spawn(publish(self, *what)))

    patch.setattr(Delivery, "_publish", later)


def a_failed_alert_given_up(patch: pytest.MonkeyPatch) -> None:
    async def once(self: KafkaPublisher, messages: Sequence[Message]) -> None:
        await self._try(await self._connected(), list(messages))

    patch.setattr(KafkaPublisher, "publish", once)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    flush = MemoryStateStore.flush

    def unguarded(self: MemoryStateStore, snapshot: Any) -> None:
        partition = snapshot.partition
        owner = self.server.owners.get(partition, b"1:ours")
        self._mine[partition] = owner, self.server.markers.get(partition)
        flush(self, snapshot)

    patch.setattr(MemoryStateStore, "flush", unguarded)


def a_state_from_the_past_loaded(patch: pytest.MonkeyPatch) -> None:
    rows_of_another_owner_loaded(patch)

    def forgiving(self: MemoryStateStore, snapshot: Any) -> None:
        owner, _ = self._mine[snapshot.partition]
        self._mine[snapshot.partition] = owner, self.server.markers.get(snapshot.partition)
        flush(self, snapshot)

    flush = MemoryStateStore.flush
    patch.setattr(MemoryStateStore, "flush", forgiving)


def started_at_the_commit(patch: pytest.MonkeyPatch) -> None:
    starts = Assignment._starts

    async def hopeful(self: Assignment, committed: Mapping[int, int | None]) -> Mapping[int, int]:
        found = await starts(self, committed)
        return {one: committed[one] or start for one, start in found.items()}

    patch.setattr(Assignment, "_starts", hopeful)


def started_at_the_marker(patch: pytest.MonkeyPatch) -> None:
    starts = Assignment._starts

    async def hopeful(self: Assignment, committed: Mapping[int, int | None]) -> Mapping[int, int]:
        found = await starts(self, committed)
        return {one: self._positions.markers.get(one, start) + 2 for one, start in found.items()}

    patch.setattr(Assignment, "_starts", hopeful)


def rows_kept_after_a_revocation(patch: pytest.MonkeyPatch) -> None:
    drop = Lane.drop

    def only_all(self: Lane, partitions: set[int] | None) -> Any:
        return drop(self, set() if partitions is not None else None)

    patch.setattr(Lane, "drop", only_all)


def rows_kept_after_a_failure(patch: pytest.MonkeyPatch) -> None:
    drop = Lane.drop
    patch.setattr(Lane, "drop", lambda self, partitions: drop(self, partitions or set()))


def the_rest_of_a_failure_skipped(patch: pytest.MonkeyPatch) -> None:
    replay = Recovery.replay

    async def first_only(self: Recovery, batches: Sequence[Batch]) -> None:
        await replay(self, batches[:1])

    patch.setattr(Recovery, "replay", first_only)


def poison_thrown_away(patch: pytest.MonkeyPatch) -> None:
    async def silently(self: Recovery) -> tuple[dict[int, int], list[Outcome]]:
        self._held = []
        return {}, []

    patch.setattr(Recovery, "_bury", silently)


def a_snapshot_ahead_of_its_marker(patch: pytest.MonkeyPatch) -> None:
    snapshot = Lane.snapshot

    def late(self: Lane, sequence: int, markers: Mapping[int, int]) -> Any:
        async def wait() -> Any:
            await asyncio.sleep(0.2)
            return await snapshot(self, sequence, markers)

        return asyncio.ensure_future(wait())

    patch.setattr(Lane, "snapshot", late)


def a_marker_taken_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Positions, "covered", lambda self, ends: dict(ends))


def unflushed_rows_evicted(patch: pytest.MonkeyPatch) -> None:
    def anything(self: EntityTable, sequence: int) -> None:
        self._flushed = sequence + 1_000_000
        self._dirty[:] = False

    patch.setattr(EntityTable, "flushed", anything)


def rows_of_another_owner_loaded(patch: pytest.MonkeyPatch) -> None:
    load = MemoryStateStore.load

    def unguarded(self: MemoryStateStore, partitions: Any, digests: Any) -> Any:
        mine, self._mine = self._mine, {}
        try:
            return load(self, partitions, digests)
        finally:
            self._mine = mine

    patch.setattr(MemoryStateStore, "load", unguarded)


def the_worker_goes_on_after_a_refused_flush(patch: pytest.MonkeyPatch) -> None:
    write = Delivery._write

    async def shrug(self: Delivery, *what: Any) -> None:
        with suppress(Fenced):
            await write(self, *what)

    patch.setattr(Delivery, "_write", shrug)


def what_is_held_published_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    publish = Delivery._publish

    async def early(self: Delivery, outcome: Outcome, span: Any = None) -> None:
        await publish(self, outcome, span)
        await self._send(outcome.held)

    patch.setattr(Delivery, "_publish", early)


def what_is_held_published_after_the_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    release = Delivery._release

    async def later(self: Delivery, outcomes: Sequence[Outcome]) -> None:
        asyncio.get_running_loop().call_later(1.0, lambda: self._spawn(release(self, outcomes)))

    patch.setattr(Delivery, "_release", later)


def what_is_pending_forgotten_at_the_start(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: ResumeObjects, partition: int, *, lost: bool) -> list[Message]:
        return []

    patch.setattr(ResumeObjects, "messages", nothing)


def what_is_done_with_followed_again(patch: pytest.MonkeyPatch) -> None:
    begin = Positions.begin

    def blank(self: Positions, partition: int, first: int, **known: int) -> None:
        begin(self, partition, first, **{**known, "done_below": 0})

    patch.setattr(Positions, "begin", blank)


def a_state_older_than_the_commit_kept(patch: pytest.MonkeyPatch) -> None:
    go_on = Assignment._go_on

    async def trusting(
        self: Assignment, resume: Any, partition: int, commit: int | None, first: int
    ) -> int:
        kept, self._store = self._store, MagicMock()
        marker = self._positions.markers.get(partition)
        start = await go_on(self, resume, partition, commit, first)
        self._store = kept
        if marker is not None:
            self._positions.markers[partition] = marker
        return start

    patch.setattr(Assignment, "_go_on", trusting)


BUGS: tuple[Plant, ...] = (
    what_is_held_published_before_it_is_stored,
    what_is_held_published_after_the_acknowledgement,
    what_is_pending_forgotten_at_the_start,
    what_is_done_with_followed_again,
    a_state_older_than_the_commit_kept,
    acknowledged_before_the_flush,
    committed_past_a_hole,
    stale_acknowledgements_counted,
    replays_applied_again,
    stored_before_published,
    a_failed_alert_given_up,
    no_fence,
    a_state_from_the_past_loaded,
    rows_of_another_owner_loaded,
    the_worker_goes_on_after_a_refused_flush,
    started_at_the_commit,
    started_at_the_marker,
    rows_kept_after_a_revocation,
    rows_kept_after_a_failure,
    the_rest_of_a_failure_skipped,
    poison_thrown_away,
    a_snapshot_ahead_of_its_marker,
    a_marker_taken_back,
    unflushed_rows_evicted,
)

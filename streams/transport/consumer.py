"""The Faust transport behind ``tocsin://``: aiokafka's, with whole batches for batch topics.

Faust finds it through the entry-point group ``faust.transports``. Topics without a `BatchSchema`
take Faust's ordinary path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from aiokafka.errors import IllegalStateError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from streams.errors import TransportError
from streams.transport.app import BatchApp
from streams.transport.offsets import BatchLedger, BatchOffset
from streams.transport.scheduler import BatchScheduler
from streams.transport.schema import BatchSchema, RecordBatch
from streams.transport.thread import ConsumerThread

GROUP_CHECK_S = 1.0


class Consumer(driver.Consumer):  # type: ignore[misc]  # Faust is Any to mypy
    """Delivers batches, commits the longest prefix that is done, starts where the app says.

    - Everything fetched is entered in `ledger` in the order of the partition before delivery.
    - A commit goes to the end of the longest prefix of batches that are acknowledged; it never
      goes below what Kafka holds.
    - A revocation commits first. A seek makes everything fetched before it stale.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.ledger = BatchLedger()
        self.batch_topics: dict[str, int] = {}
        self._placed: int | None = None
        self._seeking = asyncio.Lock()
        self._owed: dict[TP, int] = {}
        super().__init__(*args, **kwargs)
        by_record: Any = self.scheduler
        self.scheduler: Any = BatchScheduler(
            by_record, ledger=self.ledger, max_records=self.batch_topics
        )

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @Service.task  # type: ignore[untyped-decorator]  # mode is Any to mypy
    async def _group_watch(self) -> None:
        # aiokafka keeps such an error for the next fetch, and Faust does not fetch before it has
        # joined: the worker would wait for ever and look healthy.
        async for _ in self.itertimer(GROUP_CHECK_S, name="group"):
            await self._thread.check_group()

    # -- delivery

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Settle which of the assigned topics are batch topics, then do as Faust does."""
        for channel in tuple(self.app.topics):
            if isinstance(channel.schema, BatchSchema):
                self.batch_topics.update(dict.fromkeys(channel.topics, channel.schema.max_records))
        await super().on_partitions_assigned(assigned, generation_id)

    async def _getmany(
        self,
        active_partitions: set[TP] | None,
        timeout: float,  # noqa: ASYNC109 - Faust's name
    ) -> Mapping[TP, Any]:
        # Faust gives up on the seek after a rebalance when it takes longer than a request may, and
        # starts reading from the commit. A start position may have to wait for its store.
        if not self._is_placed:
            try:
                await self.perform_seek()
            except IllegalStateError:
                return {}  # the next rebalance came first
        records: Mapping[TP, Any] = await super()._getmany(active_partitions, timeout)
        # A fetch goes on through a rebalance, and Faust stops the flow of those only that have
        # partitions to give back. What comes from before the seek comes again after it.
        return records if self._is_placed else {}

    @property
    def _is_placed(self) -> bool:
        """Whether the seek after the latest rebalance is done."""
        return bool(self.app.client_only or self._placed == self.app.consumer_generation_id)

    def _to_message(self, tp: TP, record: Any) -> Any:
        if not isinstance(record, RecordBatch):
            return super()._to_message(tp, record)
        last = record.records[-1]
        return ConsumerMessage(
            topic=record.tp.topic,
            partition=record.tp.partition,
            offset=record.offset,
            timestamp=last.timestamp / 1000.0,
            timestamp_type=None,
            headers=None,
            key=None,
            value=record,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=record.tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if tp.topic not in self.batch_topics:  # the ledger knows where a batch's successor starts
            await super()._add_gap(tp, offset_from, offset_to)

    # -- acknowledgement and commit

    def ack(self, message: Any) -> bool:
        """Mark a message as done.

        Faust's pure-Python stream acknowledges events that it skips while a rebalance is under
        way, even on a `noack` stream. Nobody has seen those, so for batches that is refused.
        """
        if isinstance(message.offset, BatchOffset) and not message.tracked:
            return False
        acked: bool = super().ack(message)
        return acked

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            tp
            for tp in self.ledger.partitions().union(self._acked, self._owed)
            if topics is None or tp in topics or tp.topic in topics
        )

    def _new_offset(self, tp: TP) -> int | None:
        if tp.topic not in self.batch_topics:
            offset: int | None = super()._new_offset(tp)
            return offset
        for acked in self._acked[tp]:
            acked.done = True
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        end, owed = self.ledger.commit_offset(tp), self._owed.pop(tp, None)
        return owed if end is None else end

    async def _commit_offsets(
        self, offsets: Mapping[TP, int], start_new_transaction: bool = True
    ) -> bool:
        # Faust takes a commit that failed for done, and commits nothing that is not above it; ours
        # is owed until one succeeds.
        before = {tp: self._committed_offset[tp] for tp in offsets}
        committed: bool = await super()._commit_offsets(offsets, start_new_transaction)
        if not committed:
            kept = self.assignment()
            self._committed_offset.update({tp: at for tp, at in before.items() if tp in kept})
            self._owed.update({tp: offset for tp, offset in offsets.items() if tp in kept})
        return committed

    def done_to(self, tp: TP) -> int:
        """Return up to where everything delivered since the last seek is acknowledged; 0 at first.

        It is past transaction markers and whatever else no record is delivered of.
        """
        return self.ledger.done_to(tp)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done, then do as Faust does, which forgets acknowledgements first.

        Faust stops the flow only of who has partitions to give back: to who had none it would
        deliver while the rebalance is under way.
        """
        self._placed = None
        self.stop_flow()
        self.app.flow_control.suspend()
        await self.commit()
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self.ledger.moved(tp)  # a fetch may be on its way here still
            self.ledger.drop(tp)
            self._owed.pop(tp, None)

    # -- positions

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Seek every assigned partition to its commit, or to where `app.start_positions` wants it.

        Faust calls this after each rebalance and whenever it has dropped what it fetched. Returns
        the commits: they stay the floor of later commits wherever reading starts.

        Raises:
            IllegalStateError: the group rebalanced meanwhile; Faust's recovery starts over on it.
        """
        async with self._seeking:
            return await self._sought()

    async def _sought(self) -> Mapping[TP, int | None]:
        generation = self.app.consumer_generation_id
        # 1. What Kafka knows.
        committed: dict[TP, int | None] = await self._thread.committed()
        if self._is_placed and self.flow_active:
            # Faust's recovery seeks as `_getmany` does. Between the two batches may have gone out,
            # which would come once more.
            return committed
        starts = {tp: offset for tp, offset in committed.items() if offset is not None}
        # 2. What the application knows better.
        starts.update(await self._start_positions(committed))
        if generation != self.app.consumer_generation_id:
            raise IllegalStateError("the group rebalanced while start positions were sought")
        # 3. One seek each; nothing was delivered from anywhere else in between.
        await self._thread.restart_from(starts)
        self._placed = generation
        # 4. Where a partition was begun is on record even if nothing ever comes: what retention
        #    takes before it is read would be missed by nobody.
        self._owed.update({tp: at for tp, at in starts.items() if committed[tp] is None})
        return committed

    async def _start_positions(self, committed: Mapping[TP, int | None]) -> Mapping[TP, int]:
        batches = {tp: at for tp, at in committed.items() if tp.topic in self.batch_topics}
        start_positions = self.app.start_positions
        if start_positions is None or not batches:
            return {}
        try:
            starts: Mapping[TP, int] = await start_positions(batches)
        except Exception as error:
            # Faust only logs what a seek raises and reads on from the commit.
            await self.crash(error)
            raise
        return starts

    def is_stale(self, batch: RecordBatch) -> bool:
        """Tell whether a seek came after `batch` was fetched.

        After `seek_wait` an agent may still find such batches in its queue: it skips them, they
        come again from the new position.
        """
        return self.ledger.is_stale(batch.tp, batch.offset.move)

    def take(self, batch: RecordBatch) -> None:
        """Note that an agent has got a batch, which is not stale.

        Raises:
            TransportError: one that was fetched before it never came.
        """
        self.ledger.take(batch.tp, batch.offset)

    async def _seek(self, partition: TP, offset: int) -> None:
        # Faust's own calls aiokafka from the wrong thread.
        await self.seek_wait({ensure_TP(partition): offset})


class Transport(driver.Transport):  # type: ignore[misc]  # Faust is Any to mypy
    """What the URL scheme ``tocsin://`` names."""

    Consumer = Consumer
    driver_version = f"tocsin+{driver.Transport.driver_version}"

    def __init__(self, url: list[Any], app: Any, *args: Any, **kwargs: Any) -> None:
        if not isinstance(app, BatchApp):
            raise TransportError(f"tocsin:// serves a BatchApp only, and {app!r} is none")
        super().__init__(url, app, *args, **kwargs)

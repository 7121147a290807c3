"""The Faust transport behind ``tocsin://``: aiokafka's, with whole batches for batch topics.

Faust finds it through the entry-point group ``faust.transports``. Topics without a `BatchSchema`
take Faust's ordinary path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode import Service

from streams.errors import BrokerError, TransportError
from streams.transport.app import BatchApp
from streams.transport.fetch import FetchedRecords, fetch
from streams.transport.offsets import BatchLedger, BatchOffset
from streams.transport.scheduler import BatchScheduler
from streams.transport.schema import BatchSchema, RecordBatch

GROUP_CHECK_S = 1.0


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is Any to mypy
    """aiokafka's side of the consumer: every method with an underscore runs in its own thread."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._origins: dict[TP, int] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust has no setting for these three, and waits up to 1.5 s for a fetch to fill. aiokafka
        # reads them when it starts.
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = self.app.fetch_min_bytes
        consumer._fetch_max_wait_ms = self.app.fetch_max_wait_ms
        consumer._isolation_level = self.app.isolation_level
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP] | None,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's name
        max_records: int | None = None,
    ) -> Mapping[TP, Any]:
        batch_topics, ledger = self.consumer.batch_topics, self.consumer.ledger
        if not active_partitions or not batch_topics:
            records: Mapping[TP, Any] = await super()._fetch_records(
                consumer, active_partitions, timeout=timeout, max_records=max_records
            )
            return records
        if not self.consumer.flow_active:
            return {}
        if consumer._closed or consumer._fetcher._closed:
            raise ConsumerStoppedError

        def partitions() -> tuple[list[TP], list[TP]]:
            active = tuple(active_partitions)  # one step: the main thread changes the set
            return (
                [tp for tp in active if tp.topic in batch_topics],
                [tp for tp in active if tp.topic not in batch_topics],
            )

        with consumer._fetcher._subscriptions.fetch_context():
            records = await fetch(
                consumer._fetcher,
                partitions,
                moves=ledger.moves,
                timeout_s=timeout or 0.0,
                max_records=max_records,
            )
        for tp, fetched in records.items():
            if isinstance(fetched, FetchedRecords):
                self._origins.setdefault(tp, fetched.start)
        return records

    async def check_group(self) -> None:
        """Raise what the group coordinator refused us with, if it did.

        Raises:
            BrokerError: an unknown or forbidden group, a session timeout out of range.
        """
        try:
            await self.call_thread(self._check_group)
        except KafkaError as error:
            raise BrokerError(
                f"Kafka refuses consumer group {self.app.conf.id}: {error}"
            ) from error

    async def _check_group(self) -> None:
        if self._consumer is not None and self._consumer._coordinator is not None:
            self._consumer._coordinator.check_errors()

    async def committed(self) -> dict[TP, int | None]:
        """Ask the group coordinator for the commit of each assigned partition, None if none."""
        committed: dict[TP, int | None] = await self.call_thread(self._committed)
        return committed

    async def _committed(self) -> dict[TP, int | None]:
        consumer = self._ensure_consumer()
        return {ensure_TP(tp): await consumer.committed(tp) for tp in consumer.assignment()}

    async def restart_from(self, starts: Mapping[TP, int]) -> None:
        """Seek each assigned partition to its start, or to where it was first fetched from.

        aiokafka's own `seek_to_committed` leaves a partition without a commit where it is: past
        records that were fetched and then dropped.
        """
        await self.call_thread(self._restart_from, starts)

    async def _restart_from(self, starts: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp in map(ensure_TP, consumer.assignment()):
            start = starts.get(tp, self._origins.get(tp))
            if start is not None:
                consumer.seek(tp, start)
                self.consumer.ledger.moved(tp)

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        # Nothing is awaited between the count and Faust's seek.
        for tp in partitions:
            self.consumer.ledger.moved(ensure_TP(tp))
        await super()._seek_wait(consumer, partitions)


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
        if not self.app.client_only and self._placed != self.app.consumer_generation_id:
            try:
                await self.perform_seek()
            except IllegalStateError:
                return {}  # the next rebalance came first
        records: Mapping[TP, Any] = await super()._getmany(active_partitions, timeout)
        return records

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
            for tp in self.ledger.partitions().union(self._acked)
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
        return self.ledger.commit_offset(tp)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is done, then do as Faust does, which forgets acknowledgements first."""
        self._placed = None
        await self.commit()
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self.ledger.drop(tp)

    # -- positions

    async def seek_to_committed(self) -> Mapping[TP, int | None]:
        """Seek every assigned partition to its commit, or to where `app.start_positions` wants it.

        Faust calls this after each rebalance and whenever it has dropped what it fetched. Returns
        the commits: they stay the floor of later commits wherever reading starts.
        """
        generation = self.app.consumer_generation_id
        # 1. What Kafka knows.
        committed: dict[TP, int | None] = await self._thread.committed()
        starts = {tp: offset for tp, offset in committed.items() if offset is not None}
        # 2. What the application knows better.
        starts.update(await self._start_positions(committed))
        # 3. One seek each; nothing was delivered from anywhere else in between.
        await self._thread.restart_from(starts)
        self._placed = generation
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

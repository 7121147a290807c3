"""aiokafka's side of the transport: the fetching, committing and seeking thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.errors import ConsumerStoppedError, GroupAuthorizationFailedError, KafkaError
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.errors import BrokerError
from streams.transport.fetch import FetchedRecords, fetch


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is Any to mypy
    """Owns aiokafka's consumer: every coroutine with an underscore runs in this thread's loop.

    A seek and its count in the ledger are one step of that loop, and so are a fetch and its stamp:
    no fetch can carry the wrong stamp.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self._origins: dict[TP, int] = {}
        self._expected: dict[TP, tuple[int, int]] = {}  # count of its seeks, next offset

    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust has no setting for these three, and waits up to 1.5 s for a fetch to fill. aiokafka
        # reads them when it starts.
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = self.app.fetch_min_bytes
        consumer._fetch_max_wait_ms = self.app.fetch_max_wait_ms
        consumer._isolation_level = self.app.isolation_level
        return consumer

    def highwater(self, tp: TP) -> Any:
        """Say where what can be read of a partition ends, as the last fetch told; None before."""
        consumer = self._ensure_consumer()
        if self.app.isolation_level == "read_committed":
            return consumer.last_stable_offset(tp)
        return consumer.highwater(tp)

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
                self._follow(tp, fetched)
        return records

    def _follow(self, tp: TP, fetched: FetchedRecords) -> None:
        """Notice a position that nobody has moved: what lay before it is gone.

        aiokafka goes to the oldest record that there is when the one it asks for is not there any
        more, and tells nobody. A partition that was elsewhere meanwhile has been moved by that.
        """
        move, expected = self._expected.get(tp, (fetched.move, fetched.start))
        self._expected[tp] = fetched.move, fetched.next_offset
        is_ours = move == fetched.move
        if is_ours and fetched.start > expected and self.app.on_gone is not None:
            self.app.on_gone(tp, expected, fetched.start)

    async def check_group(self) -> None:
        """Raise what the group coordinator refused us with, if it did.

        Raises:
            BrokerError: an unknown or forbidden group, a session timeout out of range.
        """
        try:
            await self.call_thread(self._check_group)
        except GroupAuthorizationFailedError as error:
            raise BrokerError(
                f"Kafka refuses consumer group {self.app.conf.id}: its ACLs lack a group right of "
                "`tocsin rights list`"
            ) from error
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
                self._expected[tp] = self.consumer.ledger.moves(tp), start

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        # Nothing is awaited between the count and Faust's seek.
        for tp, offset in partitions.items():
            self.consumer.ledger.moved(ensure_TP(tp))
            self._expected[ensure_TP(tp)] = self.consumer.ledger.moves(ensure_TP(tp)), offset
        await super()._seek_wait(consumer, partitions)

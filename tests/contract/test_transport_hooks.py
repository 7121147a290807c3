"""One test for each thing that the batch transport relies on in Faust, on both builds of it.

Faust's streams exist in Cython and in Python; the last test runs this file again on the other.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

import faust.streams
import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP

from streams.errors import TransportError
from streams.transport import BatchApp, BatchMonitor, BatchSchema, RecordBatch
from streams.transport.consumer import Consumer, Transport
from streams.transport.fetch import FetchedRecords
from streams.transport.thread import ConsumerThread
from tests.contract.test_transport_fetch import FakeFetcher, response, stored

PARTITION, PLAIN = TP("transactions", 0), TP("audit", 0)


class FakeThread:
    """The consumer's thread without Kafka behind it: remembers commits and seeks."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.kafka: dict[TP, int | None] = {PARTITION: None}
        self.commits: list[dict[TP, int]] = []
        self.seeks: list[dict[TP, int]] = []
        self.responses: list[Mapping[TP, Any]] = []

    def assignment(self) -> set[TP]:
        return set(self.kafka)

    def highwater(self, tp: TP) -> int:
        return 1_000

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        self.commits.append(dict(offsets))
        self.kafka.update(offsets)
        return True

    async def committed(self) -> dict[TP, int | None]:
        return dict(self.kafka)

    async def restart_from(self, starts: Mapping[TP, int]) -> None:
        self.seeks.append(dict(starts))
        for tp in self.kafka:
            self.consumer.ledger.moved(tp)

    async def getmany(self, active_partitions: Any, timeout: float) -> Mapping[TP, Any]:  # noqa: ASYNC109
        if self.responses:
            return self.responses.pop(0)
        self.consumer._stopped.set()
        return {}


class Bench:
    """An app with a batch topic whose consumer is fed by hand."""

    def __init__(self) -> None:
        self.app = BatchApp("contract", broker="tocsin://localhost:1", datadir="/nonexistent")
        self.topic = self.app.topic("transactions", schema=BatchSchema(max_records=10))
        self.app.topics.add(self.topic)
        self.app.topics._acking_topics.add("transactions")  # the conductor does when it subscribes
        self.app.sensors.add(self.app.monitor)
        self.consumer: Any = self.app.consumer
        self.consumer._thread.thread_loop.close()  # a real thread opens one at once
        self.thread: Any = FakeThread(self.consumer)
        self.consumer._thread = self.thread
        self.consumer.batch_topics["transactions"] = 10
        self.consumer.flow_active = True
        self.consumer._active_partitions.add(PARTITION)
        self.consumer._placed = self.app.consumer_generation_id
        self.app.flow_control.resume()
        self.app.producer.flush = nothing

    def response(self, first: int, last: int, tp: TP = PARTITION) -> dict[TP, FetchedRecords]:
        records: Any = [
            SimpleNamespace(offset=offset, timestamp=1_000, key=None, value=b"", headers=())
            for offset in range(first, last + 1)
        ]
        move = self.consumer.ledger.moves(tp)
        return {tp: FetchedRecords(records, start=first, next_offset=last + 1, move=move)}

    async def messages(self, first: int, last: int) -> list[Any]:
        """Fetch `first` to `last` and return the messages, taken up by an agent."""
        self.thread.responses.append(self.response(first, last))
        messages = [message async for _, message in self.consumer.getmany(timeout=0)]
        for message in messages:
            message.incref()
            message.tracked = True
            self.consumer.track_message(message)
        return messages


async def nothing() -> None:
    """Flush a producer that has sent nothing."""


def on_a_bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario(Bench())

    asyncio.run(run())


# -- the transport and the app


def test_the_url_scheme_finds_the_transport() -> None:
    async def scenario(bench: Bench) -> None:
        assert type(bench.app.transport) is Transport
        assert type(bench.consumer) is Consumer

    on_a_bench(scenario)


def test_the_scheme_refuses_an_app_without_its_attributes() -> None:
    async def scenario() -> None:
        app = faust.App("plain", broker="tocsin://localhost:1")
        with pytest.raises(TransportError, match="BatchApp"):
            _ = app.transport

    asyncio.run(scenario())


def test_faust_takes_the_consumer_thread_from_the_consumer() -> None:
    async def scenario() -> None:
        app = BatchApp("contract", broker="tocsin://localhost:1")
        assert type(app.consumer._thread) is ConsumerThread
        app.consumer._thread.thread_loop.close()

    asyncio.run(scenario())


def test_fetch_settings_reach_aiokafka() -> None:
    async def scenario() -> None:
        app = BatchApp(
            "contract",
            broker="tocsin://localhost:1",
            fetch_min_bytes=65_536,
            fetch_max_wait_ms=10,
            isolation_level="read_committed",
        )
        kafka = app.consumer._thread._create_worker_consumer(app.transport)
        kafka._closed = True  # it was never started
        app.consumer._thread.thread_loop.close()
        assert kafka._fetch_min_bytes == 65_536
        assert kafka._fetch_max_wait_ms == 10
        assert kafka._isolation_level == "read_committed"
        # aiokafka hands them to its fetcher when it starts.
        names = type(kafka).start.__code__.co_names
        assert {"_fetch_min_bytes", "_fetch_max_wait_ms", "_isolation_level"} <= set(names)

    asyncio.run(scenario())


def test_an_assignment_settles_which_topics_are_batch_topics() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer.batch_topics.clear()
        bench.app.topics.add(bench.app.topic("audit", value_serializer="raw"))
        bench.consumer._on_partitions_assigned = nothing_assigned
        await bench.consumer.on_partitions_assigned({PARTITION, PLAIN}, 1)
        assert bench.consumer.batch_topics == {"transactions": 10}

    on_a_bench(scenario)


async def nothing_assigned(*_arguments: Any) -> None:
    """Stand in for the app's side of a rebalance."""


# -- delivery


def test_getmany_schedules_a_whole_fetch_before_it_delivers() -> None:
    async def scenario(bench: Bench) -> None:
        bench.thread.responses.append(bench.response(0, 29))
        async for _, message in bench.consumer.getmany(timeout=0):
            message.tracked = True
            bench.consumer.ack(message)
            bench.consumer.stop_flow()  # a rebalance starts: the other two are dropped
        bench.consumer.resume_flow()
        (again,) = await bench.messages(30, 39)
        bench.consumer.ack(again)
        await bench.consumer.commit()
        assert bench.thread.commits == [{PARTITION: 10}]

    on_a_bench(scenario)


def test_getmany_seeks_when_the_flow_stopped_during_a_fetch() -> None:
    async def scenario(bench: Bench) -> None:
        bench.thread.responses.append(bench.response(0, 9))
        bench.thread.getmany = stopping(bench.consumer, bench.thread.getmany)
        assert [message async for message in bench.consumer.getmany(timeout=0)] == []
        assert len(bench.thread.seeks) == 1
        assert bench.consumer.ledger.commit_offset(PARTITION) is None

    on_a_bench(scenario)


def stopping(consumer: Any, getmany: Any) -> Any:
    async def wrapped(*arguments: Any) -> Any:
        consumer.stop_flow()
        return await getmany(*arguments)

    return wrapped


def test_a_message_is_a_whole_batch() -> None:
    async def scenario(bench: Bench) -> None:
        (message,) = await bench.messages(5, 9)
        assert isinstance(message.value, RecordBatch)
        assert (message.topic, message.partition, message.tp) == ("transactions", 0, PARTITION)
        assert int(message.offset) == 9
        event = await bench.topic.decode(message, propagate=True)
        assert event.value is message.value
        assert event.message is message

    on_a_bench(scenario)


def test_faust_delivers_below_what_it_has_read_and_counts_no_gap() -> None:
    async def scenario(bench: Bench) -> None:
        delivered: list[int] = []

        async def callback(message: Any) -> None:
            delivered.append(message.value.first_offset)

        bench.consumer.callback = callback
        bench.thread.responses = [bench.response(at, at + 9) for at in (500, 100, 700)]
        fetcher = SimpleNamespace(_stopped=SimpleNamespace(is_set=lambda: False))
        await bench.consumer._drain_messages(fetcher)
        assert delivered == [500, 100, 700]
        assert not bench.consumer._gap[PARTITION]

    on_a_bench(scenario)


# -- acknowledgement and commit


def test_acknowledgements_below_the_commit_are_recorded() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._committed_offset[PARTITION] = 100
        messages = await bench.messages(80, 119)
        for message in reversed(messages):
            assert message.ack(bench.consumer)
        assert not bench.consumer.unacked
        await bench.consumer.commit()
        assert bench.thread.commits == [{PARTITION: 120}]

    on_a_bench(scenario)


def test_a_commit_never_goes_below_what_kafka_holds() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._committed_offset[PARTITION] = 100
        (message,) = await bench.messages(80, 89)
        message.ack(bench.consumer)
        await bench.consumer.commit()
        assert bench.thread.commits == []

    on_a_bench(scenario)


def test_a_commit_that_failed_is_made_again_although_nothing_new_is_done() -> None:
    async def scenario(bench: Bench) -> None:
        (message,) = await bench.messages(0, 9)
        message.ack(bench.consumer)
        taken = bench.thread.commit

        async def refused(offsets: Mapping[TP, int]) -> bool:
            return False

        bench.thread.commit = refused
        await bench.consumer.commit()
        bench.thread.commit = taken
        await bench.consumer.commit()
        await bench.consumer.commit()
        assert bench.thread.commits == [{PARTITION: 10}]

    on_a_bench(scenario)


def test_only_the_acknowledged_prefix_is_committed() -> None:
    async def scenario(bench: Bench) -> None:
        first, second, third = await bench.messages(0, 29)
        second.ack(bench.consumer)
        await bench.consumer.commit()
        assert bench.thread.commits == []
        first.ack(bench.consumer)
        await bench.consumer.commit()
        third.ack(bench.consumer)
        await bench.consumer.commit()
        assert bench.thread.commits == [{PARTITION: 20}, {PARTITION: 30}]

    on_a_bench(scenario)


def test_ordinary_topics_keep_fausts_commit_rule() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._acked[PLAIN] = [0, 1, 3]
        bench.consumer._acked_index[PLAIN] = {0, 1, 3}
        assert bench.consumer._new_offset(PLAIN) == 2

    on_a_bench(scenario)


def test_a_revocation_commits_before_faust_forgets() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._on_partitions_revoked = nothing_assigned
        done, _ = await bench.messages(0, 19)
        done.ack(bench.consumer)
        await bench.consumer.on_partitions_revoked({PARTITION})
        assert bench.thread.commits == [{PARTITION: 10}]
        assert PARTITION not in bench.consumer._acked
        assert bench.consumer.ledger.partitions() == set()

    on_a_bench(scenario)


def test_a_fetch_that_arrives_after_its_revocation_is_skipped() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._on_partitions_revoked = nothing_assigned
        early = bench.response(0, 9)
        await bench.consumer.on_partitions_revoked({PARTITION})
        bench.consumer.resume_flow()
        bench.consumer._buffered_partitions.add(PARTITION)  # Faust lets go of it later
        bench.consumer._active_partitions.add(TP("transactions", 1))
        bench.consumer._placed = bench.app.consumer_generation_id
        bench.thread.responses.append(early)
        assert [message async for message in bench.consumer.getmany(timeout=0)] == []

    on_a_bench(scenario)


def test_the_flow_goes_on_without_emptying_an_agents_queue() -> None:
    async def scenario(bench: Bench) -> None:
        queue = bench.topic.clone(is_iterator=True).queue
        queue.force_put_nowait("a batch")
        bench.app.flow_control.suspend()
        bench.app.flow_control.resume()
        assert bench.app.flow_control.is_active()
        assert queue.qsize() == 1
        bench.app.flow_control.clear()  # as Faust does when a rebalance begins
        assert queue.qsize() == 0

    on_a_bench(scenario)


def test_a_batch_acknowledged_during_a_revocation_is_committed() -> None:
    async def scenario(bench: Bench) -> None:
        (message,) = await bench.messages(0, 9)

        async def wait_empty(revoked: set[TP]) -> None:
            message.ack(bench.consumer)
            await bench.consumer.wait_empty()

        bench.consumer._on_partitions_revoked = wait_empty
        await bench.consumer.on_partitions_revoked({PARTITION})
        assert bench.thread.commits == [{PARTITION: 10}]

    on_a_bench(scenario)


def test_a_transaction_marker_alone_is_committed() -> None:
    async def scenario(bench: Bench) -> None:
        empty = FetchedRecords([], start=0, next_offset=1, move=0)
        bench.thread.responses.append({PARTITION: empty})
        assert [message async for message in bench.consumer.getmany(timeout=0)] == []
        await bench.consumer.commit()
        assert bench.thread.commits == [{PARTITION: 1}]

    on_a_bench(scenario)


# -- positions


def test_faust_seeks_through_seek_to_committed_and_keeps_the_commit_as_floor() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._placed = None  # a rebalance
        bench.thread.kafka[PARTITION] = 100
        bench.app.start_positions = start_at(40)
        await bench.consumer.perform_seek()
        assert bench.thread.seeks == [{PARTITION: 40}]
        assert bench.consumer._committed_offset[PARTITION] == 100

    on_a_bench(scenario)


def test_where_a_partition_was_begun_is_committed_though_nothing_comes() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._placed = None  # a rebalance
        bench.app.start_positions = start_at(0)
        await bench.consumer.perform_seek()
        await bench.consumer.commit()
        assert bench.thread.commits == [{PARTITION: 0}]
        await bench.consumer.commit()
        assert len(bench.thread.commits) == 1

    on_a_bench(scenario)


def start_at(offset: int, asked: list[Any] | None = None) -> Any:
    async def start_positions(committed: Mapping[TP, int | None]) -> Mapping[TP, int]:
        if asked is not None:
            asked.append(dict(committed))
        return dict.fromkeys(committed, offset)

    return start_positions


@pytest.mark.parametrize("committed", [None, 0, 100])
def test_start_positions_learn_the_commit_and_only_of_batch_topics(committed: int | None) -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._placed = None  # a rebalance
        asked: list[Any] = []
        bench.thread.kafka = {PARTITION: committed, PLAIN: 7}
        bench.app.start_positions = start_at(0, asked)
        await bench.consumer.perform_seek()
        assert asked == [{PARTITION: committed}]
        assert bench.thread.seeks == [{PARTITION: 0, PLAIN: 7}]

    on_a_bench(scenario)


def test_a_start_position_that_fails_ends_the_consumer() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._placed = None  # a rebalance

        async def failing(committed: Mapping[TP, int | None]) -> Mapping[TP, int]:
            raise ConnectionError("no store")

        bench.app.start_positions = failing
        with pytest.raises(ConnectionError):
            await bench.consumer.perform_seek()
        assert bench.consumer.crashed
        assert bench.thread.seeks == []

    on_a_bench(scenario)


def test_two_seeks_after_one_rebalance_move_nothing_twice_under_the_agents() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._placed = None  # a rebalance
        bench.app.start_positions = start_at(40)
        await asyncio.gather(bench.consumer.perform_seek(), bench.consumer.perform_seek())
        assert bench.thread.seeks == [{PARTITION: 40}]
        bench.consumer.flow_active = False  # what Faust has fetched meanwhile is dropped
        await bench.consumer.perform_seek()
        assert bench.thread.seeks == [{PARTITION: 40}] * 2

    on_a_bench(scenario)


def test_what_was_fetched_across_a_rebalance_is_dropped_until_the_seek() -> None:
    async def scenario(bench: Bench) -> None:
        early, fetch = bench.response(50, 59), bench.thread.getmany

        async def across(active: Any, timeout: float) -> Mapping[TP, Any]:  # noqa: ASYNC109
            bench.thread.getmany = fetch
            bench.consumer._placed = None
            bench.app.consumer_generation_id += 1
            return early

        bench.thread.getmany = across
        assert [message async for message in bench.consumer.getmany(timeout=0)] == []
        assert bench.consumer.ledger.partitions() == set()
        bench.app.start_positions = start_at(40)
        bench.thread.responses.append(bench.response(40, 49))
        bench.thread.responses[0][PARTITION].move = 1  # as it is after the seek
        found = [m async for _, m in bench.consumer.getmany(timeout=0)]
        assert [(message.value.first_offset, bench.thread.seeks) for message in found] == [
            (40, [{PARTITION: 40}])
        ]

    on_a_bench(scenario)


def test_start_positions_of_an_old_generation_are_dropped() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._placed = None  # a rebalance

        async def rebalanced(committed: Mapping[TP, int | None]) -> Mapping[TP, int]:
            bench.app.consumer_generation_id += 1
            return dict.fromkeys(committed, 40)

        bench.app.start_positions = rebalanced
        with pytest.raises(IllegalStateError):
            await bench.consumer.perform_seek()
        assert bench.thread.seeks == []
        bench.app.start_positions = start_at(50)
        await bench.messages(50, 59)
        assert bench.thread.seeks == [{PARTITION: 50}]

    on_a_bench(scenario)


def test_nothing_is_fetched_before_the_start_position_is_known() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._placed = None  # Faust gave up on the seek after a rebalance
        bench.app.start_positions = start_at(40)
        await bench.messages(40, 49)
        assert bench.thread.seeks == [{PARTITION: 40}]
        await bench.messages(50, 59)
        assert len(bench.thread.seeks) == 1
        bench.consumer._on_partitions_revoked = nothing_assigned
        await bench.consumer.on_partitions_revoked(set())  # a static member keeps its generation
        assert not bench.consumer.flow_active
        assert not bench.app.flow_control.is_active()
        bench.consumer.resume_flow()
        await bench.messages(60, 69)
        assert len(bench.thread.seeks) == 2

    on_a_bench(scenario)


class FakeKafkaConsumer:
    """aiokafka's consumer as its thread sees it: positions and nothing behind them."""

    def __init__(self, **committed: int | None) -> None:
        self._committed = {PARTITION: committed.get("batch"), PLAIN: committed.get("plain")}
        self.seeks: list[tuple[TP, int]] = []
        self._fetcher = FakeFetcher()
        self._closed = False

    def assignment(self) -> set[TP]:
        return set(self._committed)

    async def committed(self, tp: TP) -> int | None:
        return self._committed[tp]

    def seek(self, tp: TP, offset: int) -> None:
        self.seeks.append((tp, offset))

    async def position(self, tp: TP) -> int:
        return dict(self.seeks)[tp]


def in_the_thread(bench: Bench, **committed: int | None) -> tuple[Any, FakeKafkaConsumer]:
    thread: Any = ConsumerThread(bench.consumer)
    thread.thread_loop.close()
    thread._consumer = FakeKafkaConsumer(**committed)
    return thread, thread._consumer


def test_a_restart_seeks_every_partition_and_makes_its_batches_stale() -> None:
    async def scenario(bench: Bench) -> None:
        thread, kafka = in_the_thread(bench, batch=100, plain=7)
        (message,) = await bench.messages(0, 9)
        assert not bench.consumer.is_stale(message.value)
        assert await thread._committed() == {PARTITION: 100, PLAIN: 7}
        await thread._restart_from({PARTITION: 40, PLAIN: 7})
        assert sorted(kafka.seeks) == [(PLAIN, 7), (PARTITION, 40)]
        assert bench.consumer.is_stale(message.value)

    on_a_bench(scenario)


def test_a_restart_without_a_commit_goes_back_to_what_was_fetched_first() -> None:
    async def scenario(bench: Bench) -> None:
        thread, kafka = in_the_thread(bench)
        thread._origins[PARTITION] = 12
        await thread._restart_from({})
        assert kafka.seeks == [(PARTITION, 12)]

    on_a_bench(scenario)


def test_the_thread_fetches_raw_records_and_remembers_where_it_began() -> None:
    async def scenario(bench: Bench) -> None:
        thread, kafka = in_the_thread(bench)
        kafka._fetcher._records[PARTITION] = response(stored(0, 3), position=1)
        taken = await thread._fetch_records(kafka, {PARTITION}, timeout=0, max_records=None)
        assert [record.offset for record in taken[PARTITION]] == [1, 2]
        kafka._fetcher._records[PARTITION] = response(stored(3, 3), position=3)
        await thread._fetch_records(kafka, {PARTITION}, timeout=0, max_records=None)
        await thread._restart_from({})
        assert kafka.seeks == [(PARTITION, 1)]

    on_a_bench(scenario)


def test_the_thread_fetches_nothing_while_the_flow_is_stopped() -> None:
    async def scenario(bench: Bench) -> None:
        thread, kafka = in_the_thread(bench)
        kafka._fetcher._records[PARTITION] = response(stored(0, 3))
        bench.consumer.stop_flow()
        assert await thread._fetch_records(kafka, {PARTITION}, timeout=0) == {}
        assert kafka._fetcher._records

    on_a_bench(scenario)


@pytest.mark.parametrize("offset", [0, 40])
def test_a_seek_of_faust_makes_batches_stale_in_the_same_step(offset: int) -> None:
    async def scenario(bench: Bench) -> None:
        thread, kafka = in_the_thread(bench)
        (message,) = await bench.messages(0, 9)
        await thread._seek_wait(kafka, {PARTITION: offset})
        assert kafka.seeks == [(PARTITION, offset)]
        assert bench.consumer.is_stale(message.value)

    on_a_bench(scenario)


# -- streams, which Faust has in Cython and in Python


def test_the_build_is_the_one_asked_for() -> None:
    assert (faust.streams._CStreamIterator is None) == bool(os.environ.get("NO_CYTHON"))


async def streamed(bench: Bench, stream: Any, message: Any) -> Any:
    """Put `message` on the stream's channel as Faust's conductor does."""
    message.incref()
    event = await bench.topic.decode(message, propagate=True)
    await stream.channel.put(event)
    return event


async def fetched(bench: Bench, first: int, last: int) -> list[Any]:
    bench.thread.responses.append(bench.response(first, last))
    return [message async for _, message in bench.consumer.getmany(timeout=0)]


def test_a_noack_stream_leaves_the_acknowledgement_to_the_agent() -> None:
    async def scenario(bench: Bench) -> None:
        stream = bench.app.stream(bench.topic.clone(is_iterator=True)).noack()
        bench.app.topics.add(stream.channel)
        events = aiter(stream.events())
        for message in await fetched(bench, 0, 19):
            await streamed(bench, stream, message)
        first, second = await anext(events), await anext(events)
        await bench.consumer.commit()
        assert bench.thread.commits == []
        assert await stream.ack(second)
        assert await stream.ack(first)
        await bench.consumer.commit()
        assert bench.thread.commits == [{PARTITION: 20}]
        assert second.message.value is None  # the monitor let go of the payload

    on_a_bench(scenario)


def test_an_acknowledging_stream_acknowledges_below_the_commit_too() -> None:
    async def scenario(bench: Bench) -> None:
        bench.consumer._committed_offset[PARTITION] = 15
        stream = bench.app.stream(bench.topic.clone(is_iterator=True))
        bench.app.topics.add(stream.channel)
        values = aiter(stream)
        for message in await fetched(bench, 0, 29):
            await streamed(bench, stream, message)
        for _ in range(3):
            await anext(values)
        await bench.consumer.commit()  # the third is still in the agent's hands
        assert bench.thread.commits == [{PARTITION: 20}]

    on_a_bench(scenario)


def test_an_event_that_no_agent_saw_is_not_acknowledged() -> None:
    async def scenario(bench: Bench) -> None:
        stream = bench.app.stream(bench.topic.clone(is_iterator=True)).noack()
        bench.app.topics.add(stream.channel)
        events = aiter(stream.events())
        (skipped,) = await fetched(bench, 0, 9)
        skipped.generation_id = -1  # from before a rebalance
        (seen,) = await fetched(bench, 10, 19)
        await streamed(bench, stream, skipped)
        await streamed(bench, stream, seen)
        event = await anext(events)
        assert event.value.first_offset == 10
        assert await stream.ack(event)
        await bench.consumer.commit()
        assert bench.thread.commits == []

    on_a_bench(scenario)


def test_the_monitor_counts_records() -> None:
    async def scenario(bench: Bench) -> None:
        monitor = bench.app.monitor
        assert isinstance(monitor, BatchMonitor)
        stream = bench.app.stream(bench.topic.clone(is_iterator=True)).noack()
        bench.app.topics.add(stream.channel)
        events = aiter(stream.events())
        for message in await fetched(bench, 0, 12):
            await streamed(bench, stream, message)
        await anext(events)
        assert monitor.messages_received_total == 10
        await anext(events)
        assert monitor.messages_received_total == 13
        assert monitor.messages_received_by_topic["transactions"] == 13

    on_a_bench(scenario)


@pytest.mark.slow
@pytest.mark.skipif(bool(os.environ.get("NO_CYTHON")), reason="this is the other build")
def test_every_hook_holds_on_the_python_build() -> None:
    environment = {**os.environ, "NO_CYTHON": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:]

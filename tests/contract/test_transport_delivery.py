"""What is produced is delivered, what is acknowledged is committed: real workers, real brokers."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.devstack import EmbeddedBroker
from tests.nursery import Child, nursery

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 2
DEADLINE_S = 40.0
EMBEDDED_SESSION_S = 2.0  # the embedded broker lets a group join after half a session
KAFKA_SESSION_S = 6.0  # the least that Apache Kafka accepts by default

# Writes "partition first last count" for each batch to the file LOG, "o offset" for each record of
# an ordinary topic. Batches from HOLD on are delivered and never acknowledged. With LATE Faust's
# own seek after a rebalance comes a second late, and each batch takes a while.
WORKER = textwrap.dedent("""
    import asyncio
    import os
    import sys
    from streams.transport import BatchApp, BatchSchema
    from streams.transport.consumer import Consumer

    env = os.environ
    app = BatchApp(
        env["GROUP"], broker="tocsin://" + env["BOOTSTRAP"], datadir=env["DATA"],
        consumer_auto_offset_reset="earliest", broker_commit_interval=0.1,
        topic_disable_leader=True, broker_session_timeout=float(env["SESSION"]),
        broker_heartbeat_interval=0.4, broker_rebalance_timeout=2.0,
        fetch_min_bytes=64, fetch_max_wait_ms=20, isolation_level=env["ISOLATION"],
        stream_wait_empty=False,
    )
    log = open(env["LOG"], "a", buffering=1)
    hold = int(env["HOLD"])
    rewind = [True] if env["REWIND"] else []

    if env["LATE"]:
        perform_seek = Consumer.perform_seek

        def late_in_recovery(consumer):
            is_recovery = sys._getframe(1).f_code.co_name == "_resume_streams"
            return late(consumer) if is_recovery else perform_seek(consumer)

        async def late(consumer):
            await asyncio.sleep(1.0)
            return await perform_seek(consumer)

        Consumer.perform_seek = late_in_recovery

    if env["START"]:
        async def start_positions(committed):
            log.write(f"c {sorted(committed.values(), key=str)}\\n")
            return dict.fromkeys(committed, int(env["START"]))
        app.start_positions = start_positions

    @app.agent(app.topic(env["TOPIC"], schema=BatchSchema(max_records=50)))
    async def batches(stream):
        stream = stream.noack()
        async for event in stream.events():
            batch = event.value
            if rewind and batch.last_offset >= 300:
                rewind.pop()
                await app.consumer.seek_wait({batch.tp: 100})
            if app.consumer.is_stale(batch):
                continue
            values = [int(record.value) for record in batch]
            assert values == sorted(values), values
            log.write(f"{batch.partition} {batch.first_offset} {batch.last_offset} {len(batch)}\\n")
            if env["LATE"]:
                await asyncio.sleep(0.2)
            if hold < 0 or batch.last_offset < hold:
                await stream.ack(event)

    if env["ORDINARY"]:
        @app.agent(app.topic(env["ORDINARY"], value_serializer="raw"))
        async def records(stream):
            async for event in stream.events():
                log.write(f"o {event.message.offset}\\n")

    app.main()
""")


@dataclass
class Bed:
    """A topic, a consumer group and the workers on them."""

    bootstrap: str
    topic: str
    group: str
    folder: Path
    session_s: float
    workers: list[Child] = field(default_factory=list)

    def produce(self, count: int, *, topic: str = "", transactional: bool = False) -> None:
        asyncio.run(self._produce(count, topic=topic or self.topic, transactional=transactional))

    async def _produce(self, count: int, *, topic: str, transactional: bool) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        if topic not in await admin.list_topics():
            await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        await admin.close()
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            linger_ms=5,
            transactional_id=self.group if transactional else None,
        )
        await producer.start()
        try:
            for start in range(0, count, 100):
                if transactional:
                    await producer.begin_transaction()
                for i in range(start, min(start + 100, count)):
                    await producer.send(topic, b"%d" % i, partition=i % PARTITIONS)
                await producer.flush()
                if transactional and start % 200:
                    await producer.abort_transaction()
                elif transactional:
                    await producer.commit_transaction()
        finally:
            await producer.stop()

    def worker(self, name: str, **options: Any) -> Child:
        script = self.folder / "worker.py"
        script.write_text(WORKER)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "BOOTSTRAP": self.bootstrap,
            "TOPIC": self.topic,
            "GROUP": self.group,
            "DATA": str(self.folder / f"data-{name}"),
            "LOG": str(self.folder / name),
            "ISOLATION": "read_uncommitted",
            "ORDINARY": "",
            "START": "",
            "HOLD": "-1",
            "LATE": "",
            "REWIND": "",
            "SESSION": str(self.session_s),
            **{key.upper(): str(value) for key, value in options.items()},
        }
        command = [sys.executable, str(script), "worker", "-l", "info", "--without-web"]
        started = nursery().start(
            command,
            environment,
            cwd=self.folder,
            log=self.folder / f"{name}.err",
            apart=bool(environment.get("NO_CYTHON")),  # which Faust reads as it is imported
        )
        self.workers.append(started)
        return started

    def lines(self, name: str) -> list[list[str]]:
        path = self.folder / name
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def spans(self, name: str) -> list[tuple[int, int, int, int]]:
        found = [line for line in self.lines(name) if line[0].isdigit()]
        return [(int(p), int(first), int(last), int(n)) for p, first, last, n in found]

    def delivered(self, name: str) -> int:
        return sum(count for *_, count in self.spans(name))

    def committed(self) -> dict[int, int | None]:
        return asyncio.run(self._committed())

    async def _committed(self) -> dict[int, int | None]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, group_id=self.group, enable_auto_commit=False
        )
        await consumer.start()
        try:
            places = [TopicPartition(self.topic, p) for p in range(PARTITIONS)]
            consumer.assign(places)
            return {place.partition: await consumer.committed(place) for place in places}
        finally:
            await consumer.stop()

    def until(self, name: str, condition: Any) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, (
                f"{self.committed()} {self.spans(name)[-4:]}\n"
                + (self.folder / f"{name}.err").read_text()[-3_000:]
            )
            assert self.workers[-1].poll() is None, (self.folder / f"{name}.err").read_text()[
                -3000:
            ]
            time.sleep(0.1)

    def end(self, worker: Child, how: int = signal.SIGTERM) -> None:
        worker.send_signal(how)
        worker.wait(timeout=20)

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()


@pytest.fixture
def bed(broker: Any, topic_name: str, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    session_s = EMBEDDED_SESSION_S if isinstance(broker, EmbeddedBroker) else KAFKA_SESSION_S
    bed = Bed(broker.bootstrap, topic_name, namespace, tmp_path, session_s)
    yield bed
    bed.close()


@pytest.fixture
def kafka_bed(kafka_broker: Any, topic_name: str, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    """Apache Kafka only: the embedded broker writes no transaction markers."""
    bed = Bed(kafka_broker.bootstrap, topic_name, namespace, tmp_path, KAFKA_SESSION_S)
    yield bed
    bed.close()


def contiguous(spans: list[tuple[int, int, int, int]], partition: int, start: int = 0) -> bool:
    position = start
    for p, first, last, count in spans:
        if p == partition:
            if first != position or count != last - first + 1:
                return False
            position = last + 1
    return True


@pytest.mark.parametrize("build", ["cython", "python"])
def test_every_record_is_delivered_in_order_and_the_commit_reaches_the_end(
    bed: Bed, build: str
) -> None:
    bed.produce(1_000)
    bed.worker("a", no_cython="1" if build == "python" else "")
    bed.until("a", lambda: bed.delivered("a") >= 1_000)
    assert all(contiguous(bed.spans("a"), partition) for partition in range(PARTITIONS))
    assert max(count for *_, count in bed.spans("a")) <= 50
    bed.until("a", lambda: bed.committed() == {0: 500, 1: 500})
    bed.produce(200)
    bed.until("a", lambda: bed.committed() == {0: 600, 1: 600})
    assert bed.delivered("a") == 1_200


def test_an_ordinary_topic_beside_a_batch_topic_keeps_fausts_path(bed: Bed) -> None:
    ordinary = f"{bed.topic}-ordinary"
    bed.produce(400)
    bed.produce(300, topic=ordinary)
    bed.worker("a", ordinary=ordinary)
    bed.until("a", lambda: bed.delivered("a") >= 400)
    bed.until("a", lambda: sum(line[0] == "o" for line in bed.lines("a")) >= 300)
    assert sum(line[0] == "o" for line in bed.lines("a")) == 300
    bed.until("a", lambda: bed.committed() == {0: 200, 1: 200})


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_batch_that_was_not_acknowledged_comes_again_after_a_restart(bed: Bed, how: int) -> None:
    bed.produce(1_000)
    first = bed.worker("a", hold=200)
    bed.until("a", lambda: bed.delivered("a") >= 1_000)
    bed.until("a", lambda: None not in bed.committed().values())
    bed.until("a", lambda: min(bed.committed().values()) >= 150)
    bed.end(first, how)
    held = bed.committed()
    assert all(150 <= commit <= 200 for commit in held.values())
    bed.worker("b")
    bed.until("b", lambda: bed.committed() == {0: 500, 1: 500})
    assert all(contiguous(bed.spans("b"), p, held[p]) for p in range(PARTITIONS))


def test_a_start_below_the_commit_is_honoured_and_the_commit_does_not_go_back(bed: Bed) -> None:
    bed.produce(1_000)
    first = bed.worker("a")
    bed.until("a", lambda: bed.committed() == {0: 500, 1: 500})
    bed.end(first)
    second = bed.worker("b", start=100, hold=300)
    bed.until("b", lambda: bed.delivered("b") >= 800)
    assert ["c", "[500,", "500]"] in bed.lines("b")
    assert all(contiguous(bed.spans("b"), partition, 100) for partition in range(PARTITIONS))
    time.sleep(0.5)  # several commit intervals
    assert bed.committed() == {0: 500, 1: 500}
    bed.end(second)
    bed.worker("c", start=100)
    bed.until("c", lambda: bed.delivered("c") >= 800)
    bed.produce(100)
    bed.until("c", lambda: bed.committed() == {0: 550, 1: 550})


@pytest.mark.parametrize("start", [0, 300])
def test_a_start_without_or_above_the_commit_is_honoured(bed: Bed, start: int) -> None:
    bed.produce(1_000)
    bed.worker("a", start=start)
    bed.until("a", lambda: bed.committed() == {0: 500, 1: 500})
    assert ["c", "[None,", "None]"] in bed.lines("a")
    assert bed.delivered("a") == 1_000 - PARTITIONS * start
    assert all(contiguous(bed.spans("a"), partition, start) for partition in range(PARTITIONS))


def test_a_seek_in_full_flight_replays_in_order_and_the_commit_does_not_go_back(bed: Bed) -> None:
    bed.produce(2_000)
    bed.worker("a", rewind="1")
    bed.until("a", lambda: bed.committed() == {0: 1_000, 1: 1_000})
    repeated = 0
    for partition in range(PARTITIONS):
        spans = [span for span in bed.spans("a") if span[0] == partition]
        starts = [i for i, span in enumerate(spans) if i and span[1] != spans[i - 1][2] + 1]
        repeated += len(starts)
        cut = starts[0] if starts else len(spans)
        assert contiguous(spans[:cut], partition)
        assert contiguous(spans[cut:], partition, 100)
    assert repeated == 1


def test_nothing_is_lost_while_workers_come_and_go(bed: Bed) -> None:
    bed.produce(1_000)
    first = bed.worker("a")
    bed.until("a", lambda: bed.delivered("a") >= 1_000)
    bed.worker("b")
    produced = 1_000
    deadline = time.monotonic() + DEADLINE_S
    while not bed.spans("b"):
        assert time.monotonic() < deadline, (bed.folder / "b.err").read_text()[-3_000:]
        bed.produce(100)
        produced += 100
    bed.end(first)
    bed.produce(1_000)
    produced += 1_000
    half = produced // PARTITIONS
    bed.until("b", lambda: bed.committed() == {0: half, 1: half})
    for partition in range(PARTITIONS):
        spans = [s for name in ("a", "b") for s in bed.spans(name) if s[0] == partition]
        seen = {offset for _, first_, last, _ in spans for offset in range(first_, last + 1)}
        assert seen == set(range(half))


def test_a_worker_that_had_no_partition_loses_nothing_of_those_that_it_is_given(bed: Bed) -> None:
    """Whichever of the two seeks after a rebalance is the last."""
    others = [bed.worker("a", late="1"), bed.worker("b", late="1")]
    bed.produce(200)
    bed.until("b", lambda: bed.spans("a") and bed.spans("b"))
    bed.worker("c", late="1")
    bed.until("c", lambda: "Worker ready" in (bed.folder / "c.err").read_text())
    bed.produce(2_000)
    bed.end(others[0])
    half = 2_200 // PARTITIONS
    bed.until("c", lambda: bed.committed() == {0: half, 1: half})
    ((partition, start), *_) = ((p, first) for p, first, *_ in bed.spans("c"))
    assert contiguous(bed.spans("c"), partition, start)


@pytest.mark.parametrize("isolation", ["read_uncommitted", "read_committed"])
def test_transactions_leave_gaps_that_hold_nothing_back(kafka_bed: Bed, isolation: str) -> None:
    kafka_bed.produce(1_000, transactional=True)
    kafka_bed.worker("a", isolation=isolation)
    # Ten transactions, each with a marker behind it; every other one was aborted.
    kafka_bed.until("a", lambda: kafka_bed.committed() == {0: 510, 1: 510})
    expected = 1_000 if isolation == "read_uncommitted" else 500
    assert kafka_bed.delivered("a") == expected


def test_a_worker_that_the_group_refuses_ends_and_says_why(kafka_bed: Bed) -> None:
    kafka_bed.produce(10)
    worker = kafka_bed.worker("a", session=1.0)
    assert worker.wait(timeout=DEADLINE_S) != 0
    assert "Kafka refuses consumer group" in (kafka_bed.folder / "a.err").read_text()

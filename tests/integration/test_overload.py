"""More than a worker can do at once: its memory is bounded, it stays in the group, nothing is lost.

Workers run under RLIMIT_DATA: one that asks for more memory than that dies of it.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streams.admin import connect
from streams.bench.procfs import peak_rss_mib
from streams.devstack import KafkaBroker
from streams.state.store import digest
from tests.chaos.events import PARTITIONS
from tests.conftest import KAFKA_JARS, Stack
from tests.fakes.model import random_model
from tests.passages import BLOBS, PASSING, alerts_of, caught_up, check, now_ms, passages, vision_bed
from tests.soak.check import stored_counts
from tests.soak.traffic import Payment, payments
from tests.worker import Bed, WorkerProcess, bed_on

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.long]

MIB = 2**20
LIMIT_MIB = 2048
"""Of data: a worker that has just begun has mapped some 1,300 MiB, stacks of threads among them."""

_LIMITED = f"import resource as r; r.setrlimit(r.RLIMIT_DATA, ({LIMIT_MIB * MIB},) * 2); "
BOUNDED = (
    *(sys.executable, "-c", f"{_LIMITED}from streams.cli.main import main; main()"),
    *("worker", "fraud"),
)
_RUN = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
BOUNDED_BLOBS = (sys.executable, "-c", _LIMITED + _RUN, BLOBS[1])

BEYOND_MIB = 1024
"""What is sent has more, so who holds it all goes beyond the limit."""

HOT = "card-0"
EVERYTHING = 2_000_000
STORM = 60_000
GIANTS = BEYOND_MIB // 10 + 1
DRAIN_S = 600.0
SLOW_ALERTS, SLOW_BYTES_PER_S = 20_000, 400_000


@pytest.fixture
def bed(real_stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    """Topics for records of 12 MB, and a small network that alerts on nothing."""
    bed = bed_on(*real_stack, namespace, tmp_path, model=random_model(tmp_path), threshold=1.0)
    bed.create_topics(max_message_bytes=str(12 * MIB))
    yield bed
    bed.close()


def send(bed: Bed, records: Iterable[tuple[bytes, int, bytes]]) -> Counter[tuple[int, bytes]]:
    """Put (key, partition, value) on `transactions`; return their number by partition and key."""
    sent: Counter[tuple[int, bytes]] = Counter()
    producer = Producer(
        {
            "bootstrap.servers": bed.settings.kafka.bootstrap_servers,
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "message.max.bytes": 12 * MIB,
        }
    )
    for key, partition, value in records:
        while True:
            try:
                producer.produce(bed.settings.topics.transactions, value, key, partition)
            except BufferError:
                producer.poll(0.2)
            else:
                break
        producer.poll(0)
        sent[partition, key] += 1
    assert producer.flush(120) == 0
    return sent


def rounds(count: int, *, hot: bool = False) -> Iterator[tuple[bytes, int, bytes]]:
    """`count` payments; of one card every second one, if `hot`."""
    each, round_ms = payments(1)
    one: Payment
    for number in range(count):
        turn, place = divmod(number, len(each))
        one = each[place]
        value = one.value(turn, place, round_ms)
        if hot and number % 2:
            key = HOT.encode()
            card = json.dumps(one.key.decode()).encode()
            yield key, zlib.crc32(key) % PARTITIONS, value.replace(card, b'"%s"' % key, 1)
        else:
            yield one.key, one.partition, value


def drained(bed: Bed, worker: WorkerProcess, limit_s: float = DRAIN_S) -> list[float]:
    """Wait until everything is committed, by a worker that never left the group.

    Returns for how long each lag was seen (s).
    """
    group, topic = bed.settings.fraud.group, bed.settings.topics.transactions
    deadline = time.monotonic() + limit_s
    seen: dict[int, list[float]] = {}
    while lag := bed.lag(group, topic):
        seen.setdefault(lag, []).append(time.monotonic())
        assert worker.status is None, "\n".join(worker.log[-30:])
        assert time.monotonic() < deadline, "\n".join(worker.log[-30:])
        time.sleep(0.5)
    assigned = [line for line in worker.log if "assigned partitions" in line]
    assert len(assigned) == 1, assigned
    return [times[-1] - times[0] for times in seen.values()]


def held(bed: Bed, sent: Counter[tuple[int, bytes]]) -> None:
    """Every card's row has counted what was sent of it."""
    due = {(at, digest(key.decode())): count for (at, key), count in sent.items() if count}
    assert dict(stored_counts(bed)) == due


def test_two_million_payments_half_of_them_of_one_card_are_applied_in_bounded_memory(
    bed: Bed,
) -> None:
    sent = send(bed, rounds(EVERYTHING, hot=True))
    with bed.worker(command=BOUNDED) as worker:
        worker.until_ready()
        drained(bed, worker)
        most = peak_rss_mib(worker.pid)
        assert worker.stop() == 0
    print(f"{EVERYTHING:,} payments: at most {most:,.0f} MiB resident, {LIMIT_MIB:,} MiB allowed")
    held(bed, sent)


def heavy(picture: bytes | None) -> bytes | None:
    """The same JPEG with comments of 240 KB, about what a camera's picture has."""
    if picture is None:
        return None
    assert picture.startswith(b"\xff\xd8")
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + bytes(60_000)
    return picture[:2] + 4 * comment + picture[2:]


def test_five_thousand_frames_are_looked_at_in_bounded_memory(
    real_stack: Stack, namespace: str, tmp_path: Path
) -> None:
    bed = vision_bed(*real_stack, namespace, tmp_path)
    people = -(-5000 // len(PASSING))
    frames = [
        replace(one, value=heavy(one.value))
        for one in passages(people, begun_ms=now_ms() - 600_000, cameras=["gate"])
    ]
    assert sum(len(one.value or b"") for one in frames) > BEYOND_MIB * MIB
    bed.produce(bed.settings.topics.frames, frames)
    with bed.worker("vision", command=BOUNDED_BLOBS) as worker:
        worker.until_ready()
        caught_up(bed, worker)
        most = peak_rss_mib(worker.pid)
        assert worker.stop() == 0
    print(f"{len(frames):,} frames: at most {most:,.0f} MiB resident")
    check(alerts_of(bed), people, ["gate"])


def test_a_partition_that_is_far_behind_does_not_hold_up_the_others(bed: Bed) -> None:
    group, topic = bed.settings.fraud.group, bed.settings.topics.transactions
    behind = 0
    sent = send(bed, ((key, behind, value) for key, _, value in rounds(10 * STORM)))
    sent += send(bed, ((k, 1, v) for k, _, v in rounds(200)))
    ends = bed.ends(topic)
    with bed.worker(command=BOUNDED) as worker:
        worker.until_ready()
        deadline = time.monotonic() + 120
        while (commits := committed(bed)).get(1, 0) < ends[1]:
            assert time.monotonic() < deadline, worker.log[-10:]
            time.sleep(0.05)
        assert commits.get(behind, 0) < ends[behind], "the large one was done before"
        drained(bed, worker)
        assert worker.stop() == 0
    assert bed.lag(group, topic) == 0
    held(bed, sent)


def committed(bed: Bed) -> dict[int, int]:
    with connect(bed.settings.kafka) as cluster:
        return cluster.committed(bed.settings.fraud.group, bed.settings.topics.transactions)


def test_records_of_ten_megabytes_are_buried_whole_in_bounded_memory(bed: Bed) -> None:
    giant = b'{"tx_id": "%s"' % (b"x" * 10 * MIB)
    good = list(rounds(1000))
    records = [*good[:500], *((key, at, giant) for key, at, _ in good[:GIANTS]), *good[500:]]
    sent = send(bed, records)
    dead = f"{bed.settings.topics.transactions}{bed.settings.topics.dead_suffix}"
    with bed.worker(command=BOUNDED) as worker:
        worker.until_ready()
        drained(bed, worker)
        most = peak_rss_mib(worker.pid)
        assert worker.metric("tocsin_dead_letters_total") == GIANTS
        assert worker.stop() == 0
    print(f"{GIANTS} records of 10 MiB: at most {most:,.0f} MiB resident")
    letters = [record.value for record in bed.read(dead)]
    assert letters == [giant] * GIANTS
    sent.subtract((at, key) for key, at, _ in good[:GIANTS])
    held(bed, sent)


def test_alerts_that_a_broker_takes_slowly_all_go_out_and_the_worker_stays(
    private_kafka: KafkaBroker, real_stack: Stack, namespace: str, tmp_path: Path
) -> None:
    """Every payment alerts; a batch's alerts take longer than a worker may stand."""
    patience_s = 10
    made = {"model": random_model(tmp_path), "threshold": 0.0}
    bed = bed_on(private_kafka.bootstrap, real_stack.redis_url, namespace, tmp_path, **made)
    bed.create_topics()
    try:
        sent = send(bed, rounds(SLOW_ALERTS))
        _limit_producers(private_kafka.bootstrap, SLOW_BYTES_PER_S)
        given = {"TOCSIN_DELIVERY__STUCK_AFTER_S": str(patience_s)}
        with bed.worker(command=BOUNDED, **given) as worker:
            worker.until_ready()
            pauses = drained(bed, worker)
            assert worker.stop() == 0
        assert max(pauses) > 1.5 * patience_s, f"the alerts were not slow: {max(pauses):.1f} s"
        held(bed, sent)
        ids = {alert.event_id for alert in alerts_of(bed)}
        assert len(ids) == SLOW_ALERTS
    finally:
        bed.close()


def _limit_producers(bootstrap: str, bytes_per_s: int) -> None:
    java = ["java", "-cp", str(KAFKA_JARS / "*"), "kafka.admin.ConfigCommand"]
    quota = ["--alter", "--add-config", f"producer_byte_rate={bytes_per_s}"]
    of_all = ["--entity-type", "clients", "--entity-default"]
    subprocess.run(
        [*java, "--bootstrap-server", bootstrap, *quota, *of_all], check=True, capture_output=True
    )

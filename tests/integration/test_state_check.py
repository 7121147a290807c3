"""`tocsin state check`: cards scored again from Kafka, and what is wrong with their rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient, TopicPartition
from redis import Redis

from models.fraud.features import CARD_STATE
from models.fraud.simulator import SimulatorConfig, simulate
from streams.producers.records import transaction_records
from streams.state.table import row_dtype
from tests.conftest import Stack
from tests.nursery import nursery
from tests.worker import TOCSIN, Bed, Produced, bed_on, environment_of

pytestmark = pytest.mark.slow

PAYMENTS = 1500


@pytest.fixture
def bed(real_stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    """A worker has scored payments of some two hundred cards, and has stopped."""
    bed = bed_on(real_stack.bootstrap, real_stack.redis_url, namespace, tmp_path)
    bed.create_topics()
    world = SimulatorConfig(customers=200, terminals=200, seed=5)
    rows = simulate(world, 8).take(slice(0, PAYMENTS))
    sent = [Produced(value, key) for key, value in transaction_records(rows, "EUR")]
    bed.produce(bed.settings.topics.transactions, [*sent, Produced(b"no payment", b"x")])
    with bed.worker() as worker:
        worker.until(
            lambda: bed.lag(bed.settings.fraud.group, bed.settings.topics.transactions) == 0,
            "commit of everything",
        )
        assert worker.stop() == 0
    yield bed
    bed.close()


def check(bed: Bed, *options: str) -> tuple[int, list[str]]:
    command = (*TOCSIN, "state", "check", *options)
    done = nursery().run(command, environment_of(bed.settings), bed.folder)
    assert done.stderr == "", done.stderr
    return done.returncode, done.stdout.splitlines()


def rows_of(bed: Bed, redis: Redis) -> list[bytes]:
    """Keys of the cards' rows."""
    group = bed.settings.fraud.group
    keys = redis.scan_iter(f"{group}:{{*}}:*", count=1000)
    return sorted(key for key in keys if len(key) == len(f"{group}:{{0000}}:") + 16)


def test_every_wrong_row_is_named_and_a_right_state_has_none(bed: Bed) -> None:
    with Redis.from_url(bed.settings.redis.url) as redis:
        keys = rows_of(bed, redis)
        status, (told,) = check(bed)
        assert status == 0
        assert told == (
            f"{len(keys)} of {len(keys)} cards compared over {PAYMENTS + 1} records: "
            f"{len(keys)} right, 0 wrong, 0 older than what the topic retains"
        )

        lost, counted, remembered, earlier = keys[:4]
        values = {key: redis.get(key) or b"" for key in keys[:4]}
        width = row_dtype(CARD_STATE).itemsize

        def changed(key: bytes, **fields: int) -> bytes:
            row = np.frombuffer(values[key][:width], row_dtype(CARD_STATE)).copy()
            for name, step in fields.items():
                (row if name == "offset" else row["state"])[name] += step
            return row.tobytes() + values[key][width:]

        redis.delete(lost)
        redis.set(counted, changed(counted, count=1))
        redis.set(remembered, values[remembered][:-4] + np.float32(7).tobytes())
        redis.set(earlier, changed(earlier, offset=-1))
        stranger = keys[4][:-16] + b"\x00" * 16
        redis.set(stranger, values[counted])

        report = bed.folder / "check.json"
        status, (told, *wrong) = check(bed, "--report", str(report))
    assert status == 1
    assert f"{len(keys) - 4} right, 5 wrong" in told
    whats = sorted(line.partition(": ")[2] for line in wrong)
    assert whats[0].split()[0].isdigit()
    assert [sum(part in what for what in whats) for part in ("Kafka has", "has no row")] == [2, 1]
    assert sum("has a row and no payment" in what for what in whats) == 1
    assert sum("the network's memory is off by" in what for what in whats) == 1
    assert len(json.loads(report.read_text())["findings"]) == 5


def test_a_sample_is_about_as_large_as_asked_for(bed: Bed) -> None:
    status, (told,) = check(bed, "--cards", "50")
    assert status == 0
    assert 20 < int(told.split()[0]) < 90


def test_what_retention_has_taken_is_not_called_wrong(bed: Bed) -> None:
    topic = bed.settings.topics.transactions
    admin = KafkaAdminClient(bootstrap_servers=bed.settings.kafka.bootstrap_servers)
    try:
        half = {TopicPartition(topic, at): end // 2 for at, end in bed.ends(topic).items()}
        admin.delete_records(half)
    finally:
        admin.close()
    status, (told,) = check(bed)
    assert status == 0
    assert ", 0 wrong, " in told
    assert int(told.split(" wrong, ")[1].split()[0]) > 50


def test_without_a_state_there_is_nothing_to_check(
    real_stack: Stack, namespace: str, tmp_path: Path
) -> None:
    bed = bed_on(real_stack.bootstrap, real_stack.redis_url, namespace, tmp_path)
    bed.create_topics()
    command = (*TOCSIN, "state", "check")
    done = nursery().run(command, environment_of(bed.settings), bed.folder)
    assert done.returncode != 0
    assert "there is no state in" in done.stderr

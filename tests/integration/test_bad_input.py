"""A real worker among bad records, and with what it needs missing, wrong, or gone for a while."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from streams.devstack import EmbeddedBroker, EmbeddedRedis, KafkaBroker, RedisServer
from streams.devstack.ports import free_ports
from streams.schemas import DeadLetter, decode_alert
from tests.conftest import Stack, started
from tests.fakes.model import random_model
from tests.fakes.records import now_ms, payment
from tests.worker import Bed, Produced, WorkerProcess, bed_on

pytestmark = [pytest.mark.integration, pytest.mark.slow]

DAY_MS = 86_400_000
GIANT = b'{"tx_id": "' + os.urandom(5 * 1024 * 1024).hex().encode() + b'"'
BAD: dict[str, tuple[bytes | None, str]] = {
    "broken": (b'{"tx_id": "t1"', "truncated"),
    "empty": (b"", "empty value"),
    "null": (None, "empty value"),
    "missing": (b'{"tx_id": "t1"}', "card_id"),
    "type": (payment(amount="1"), "$.amount"),
    "nan": (payment(amount=float("nan")), "malformed"),
    "infinity": (payment(amount=float("inf")), "malformed"),
    "1e309": (payment().replace(b"12.5", b"1e309"), "out of range"),
    "negative": (payment(amount=-5), "$.amount"),
    "absurd": (payment(amount=1e20), "above the limit"),
    "past": (payment(event_time=1), "before the earliest"),
    "future": (payment(event_time=now_ms() + 30 * DAY_MS), "future"),
    "currency": (payment(currency="XAU"), "no rate for currency"),
    "surrogate": (payment().replace(b'"c1"', b'"\\udc00"'), ""),
    "utf-8": (payment().replace(b'"c1"', b'"\xff\xfe"'), ""),
    "nested": (b'{"a":' * 50_000, ""),
    "giant": (GIANT, "length <= 128"),
}


@pytest.fixture
def bed(stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    bed = bed_on(*stack, namespace, tmp_path, model=random_model(tmp_path), threshold=0.0)
    yield bed
    bed.close()


def test_every_bad_record_is_buried_as_it_came_and_the_good_ones_around_it_are_scored(
    bed: Bed,
) -> None:
    topics = bed.settings.topics
    source, dead = topics.transactions, f"{topics.transactions}{topics.dead_suffix}"
    bed.create_topics(max_message_bytes=str(12 * 1024 * 1024))
    records = []
    for number, (name, (value, _)) in enumerate(BAD.items()):
        good = payment(tx_id=f"good-{number}", card_id=f"c{number}")
        records += [Produced(good), Produced(value, name.encode(), [("name", name.encode())])]
    odd = {"unknown": payment(tx_id="unknown", merchant={"deep": [1]})}
    odd["twice"] = payment(tx_id="twice")
    records += [Produced(odd["unknown"]), Produced(odd["twice"]), Produced(odd["twice"])]
    bed.produce(source, records)

    with bed.worker() as worker:
        worker.until(lambda: bed.lag(bed.settings.fraud.group, source) == 0, "commit of everything")
        worker.until_ready()
        assert worker.metric("tocsin_dead_letters_total") == len(BAD)
        assert worker.metric("tocsin_batch_failures_total") == 0
        assert len(worker.log) < 20
        assert worker.stop() == 0

    origins = {r.key.decode(): r for r in bed.read(source) if r.key is not None}
    letters = {}
    for record in bed.read(dead):
        letter = DeadLetter.from_record(record.key, record.value, tuple(record.headers))
        letters[(letter.key or b"").decode()] = letter
    assert letters.keys() == BAD.keys()
    for name, (value, reason) in BAD.items():
        letter = letters[name]
        assert letter.value == value
        assert letter.headers == (("name", name.encode()),)
        assert (letter.topic, letter.partition) == (source, origins[name].partition)
        assert letter.offset == origins[name].offset
        assert reason in letter.reason
    alerts = [decode_alert(record.value) for record in bed.read(topics.alerts)]
    found = sorted(str(alert.detail["tx_id"]) for alert in alerts)
    assert found == sorted([*(f"good-{i}" for i in range(len(BAD))), "unknown", "twice", "twice"])


# -- what is missing at the start -----------------------------------------------------------------
@pytest.fixture
def absent_broker() -> Iterator[EmbeddedBroker]:
    """A broker that the test starts."""
    server = EmbeddedBroker()
    yield server
    server.close()


@pytest.fixture
def absent_redis() -> Iterator[EmbeddedRedis]:
    """A Redis that the test starts, and whose password is not the worker's."""
    server = EmbeddedRedis(password="right")
    yield server
    server.close()


def test_a_worker_says_what_it_lacks_and_becomes_ready_when_it_is_there(
    absent_broker: EmbeddedBroker, absent_redis: EmbeddedRedis, namespace: str, tmp_path: Path
) -> None:
    broker, redis = absent_broker, absent_redis
    (_, port) = redis.url.rsplit(":", 1)
    model = tmp_path / "model" / "random.json"
    bed = bed_on(broker.bootstrap, f"redis://127.0.0.1:{port}", namespace, tmp_path, model=model)
    with bed.worker(TOCSIN_REDIS__PASSWORD="wrong") as worker:
        # 1. No model; a truncated one; one of which half is missing.
        worker.until_reason(r"random\.json is missing")
        assert worker.get("/livez")[0] == 200
        assert worker.get("/readyz")[0] == 503
        random_model(model.parent)
        weights = model.with_suffix(".safetensors").read_bytes()
        manifest = model.read_bytes()
        model.with_suffix(".safetensors").write_bytes(weights[:-100])
        worker.until_reason("sha256 differs|is missing")
        model.write_bytes(manifest[: len(manifest) // 2])
        worker.until_reason("is no model manifest")
        random_model(model.parent)
        # 2. No broker.
        worker.until_reason(f"Kafka at {broker.bootstrap} cannot be reached")
        with started(broker, real=False):
            # 3. No topic.
            worker.until_reason("transactions' does not exist: run `tocsin topics create`")
            bed.create_topics()
            # 4. No Redis; a Redis that refuses us.
            worker.until_reason("waiting for Redis: cannot reach Redis")
            with started(redis, real=False):
                worker.until_reason(r"waiting for Redis: Redis refuses us: .*redis\.password")
                with Redis.from_url(redis.url) as client:
                    client.config_set("requirepass", "wrong")
                # 5. All is there.
                worker.until_ready()
                assert worker.get("/readyz") == (
                    200,
                    '{"ready": true, "state": "ready", "reasons": []}\n',
                )
                assert len(worker.log) < 25, worker.log
                assert not any("Traceback" in line for line in worker.log)
                assert worker.stop() == 0
    assert "wrong" not in "".join(worker.log).replace("wrong password", "")


def test_a_worker_that_waits_is_patient_quiet_and_ends_at_once_when_told_to(
    namespace: str, tmp_path: Path
) -> None:
    nobody, nothing = free_ports(2)
    bed = bed_on(
        *(f"127.0.0.1:{nobody}", f"redis://127.0.0.1:{nothing}"),
        *(namespace, tmp_path),
        model=random_model(tmp_path),
    )
    with bed.worker() as worker:
        worker.until_reason("cannot be reached")
        attempts = len(worker.log)
        for _ in range(60):
            assert worker.get("/livez")[0] == 200
            assert worker.get("/readyz")[0] == 503
        assert len(worker.log) == attempts
        assert worker.stop() == 0
        assert len(worker.log) < 8, worker.log


# -- what goes away and comes back ----------------------------------------------------------------
@pytest.fixture
def lone_redis() -> Iterator[RedisServer]:
    with started(EmbeddedRedis(args=("--appendonly", "yes")), real=False) as server:
        yield server


def take(bed: Bed, worker: WorkerProcess, start: int, count: int = 20) -> None:
    source = bed.settings.topics.transactions
    values = [payment(tx_id=f"t{i}", card_id=f"c{i % 7}") for i in range(start, start + count)]
    bed.produce(source, [Produced(value, b"c%d" % (i % 7)) for i, value in enumerate(values)])
    worker.until(
        lambda: bed.lag(bed.settings.fraud.group, source) == 0, f"commit of {start} and on"
    )


def test_a_redis_that_goes_away_is_waited_for_and_nothing_is_lost(
    embedded_broker: EmbeddedBroker, lone_redis: RedisServer, namespace: str, tmp_path: Path
) -> None:
    bed = bed_on(
        *(embedded_broker.bootstrap, lone_redis.url, namespace, tmp_path),
        model=random_model(tmp_path),
        threshold=0.0,
    )
    bed.create_topics()
    topics = bed.settings.topics
    with bed.worker() as worker:
        worker.until_ready()
        take(bed, worker, 0)
        lone_redis.stop()
        bed.produce(topics.transactions, [Produced(payment(tx_id="during"))])
        worker.until_reason("waiting for Redis: cannot reach Redis")
        assert worker.get("/livez")[0] == 200
        lone_redis.start()
        worker.until_ready()
        take(bed, worker, 20)
        assert sum("waiting for Redis" in line for line in worker.log) <= 3
        assert worker.stop() == 0

    alerts = [decode_alert(record.value) for record in bed.read(topics.alerts)]
    found = [str(alert.detail["tx_id"]) for alert in alerts]
    assert sorted(set(found)) == sorted(["during", *(f"t{i}" for i in range(40))])
    assert len(found) == len(set(found))


def test_state_of_another_topic_is_refused_by_name_and_never_touched(
    embedded_broker: EmbeddedBroker, lone_redis: RedisServer, namespace: str, tmp_path: Path
) -> None:
    bed = bed_on(
        *(embedded_broker.bootstrap, lone_redis.url, namespace, tmp_path),
        model=random_model(tmp_path),
    )
    bed.create_topics()
    identity = f"{bed.settings.fraud.group}:identity"
    with Redis.from_url(lone_redis.url) as redis, bed.worker() as worker:
        redis.set(identity, json.dumps({"topic": "another"}))
        worker.until_reason("belongs to another topic, model or version .*run tocsin state rebuild")
        assert redis.keys() == [identity.encode()]
        redis.delete(identity)
        worker.until_ready()
        assert worker.stop() == 0


def test_a_worker_whose_partition_was_taken_over_ends_and_says_so(
    embedded_broker: EmbeddedBroker, lone_redis: RedisServer, namespace: str, tmp_path: Path
) -> None:
    bed = bed_on(
        *(embedded_broker.bootstrap, lone_redis.url, namespace, tmp_path),
        model=random_model(tmp_path),
    )
    bed.create_topics()
    group = bed.settings.fraud.group
    with Redis.from_url(lone_redis.url) as redis, bed.worker() as worker:
        worker.until_ready()
        for partition in range(bed.settings.topics.partitions):
            redis.set(f"{group}:{{{partition:04d}}}:owner:{partition:04d}", "99:another")
        bed.produce(bed.settings.topics.transactions, [Produced(payment())])
        assert worker.wait() == 75
        (ending,) = [line for line in worker.log if "CRITICAL" in line]
        assert "has another owner" in ending
        assert not any("Traceback" in line for line in worker.log)
        assert all(redis.get(key) is None for key in redis.scan_iter(f"{group}:*:marker:*"))


@pytest.mark.usefixtures("redis_server")
def test_a_kafka_that_goes_away_is_waited_for_and_nothing_is_lost(
    private_kafka: KafkaBroker, redis_server: RedisServer, namespace: str, tmp_path: Path
) -> None:
    bed = bed_on(
        *(private_kafka.bootstrap, redis_server.url, namespace, tmp_path),
        model=random_model(tmp_path),
        threshold=0.0,
    )
    bed.create_topics()
    with bed.worker() as worker:
        worker.until_ready()
        take(bed, worker, 0)
        private_kafka.stop()
        private_kafka.start()
        take(bed, worker, 20)
        worker.until_ready()
        assert worker.stop() == 0
    alerts = [decode_alert(record.value) for record in bed.read(bed.settings.topics.alerts)]
    assert {str(alert.detail["tx_id"]) for alert in alerts} == {f"t{i}" for i in range(40)}

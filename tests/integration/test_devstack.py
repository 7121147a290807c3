"""The servers that we start ourselves: they answer, stop, come back with their data, and die."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from streams.devstack import (
    EmbeddedBroker,
    EmbeddedRedis,
    KafkaBroker,
    RedisServer,
    ServerFailed,
    ServerMissing,
)
from streams.devstack.ports import free_ports
from tests.conftest import DURABLE, Stack, started

pytestmark = pytest.mark.integration


def test_records_come_back_from_a_broker(
    broker: EmbeddedBroker | KafkaBroker, topic_name: str
) -> None:
    async def scenario() -> list[bytes | None]:
        await create(broker.bootstrap, topic_name)
        await produce(broker.bootstrap, topic_name, [b"one", b"two", b"three"])
        return await consume(broker.bootstrap, topic_name, 3)

    assert asyncio.run(scenario()) == [b"one", b"two", b"three"]


def test_a_stack_is_a_broker_and_a_redis_that_answer(stack: Stack, topic_name: str) -> None:
    asyncio.run(create(stack.bootstrap, topic_name))
    with Redis.from_url(stack.redis_url) as client:
        assert client.ping()


def test_kafka_takes_records_of_many_megabytes(kafka_broker: KafkaBroker, topic_name: str) -> None:
    frame = os.urandom(8 * 1024 * 1024)

    async def scenario() -> list[bytes | None]:
        await create(kafka_broker.bootstrap, topic_name)
        await produce(kafka_broker.bootstrap, topic_name, [frame])
        return await consume(kafka_broker.bootstrap, topic_name, 1)

    assert asyncio.run(scenario()) == [frame]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_kafka_comes_back_on_its_port_with_its_records(
    private_kafka: KafkaBroker, topic_name: str, end: str
) -> None:
    bootstrap = private_kafka.bootstrap
    asyncio.run(create(bootstrap, topic_name))
    asyncio.run(produce(bootstrap, topic_name, [b"before"]))

    ended_and_started(private_kafka, end)
    asyncio.run(produce(bootstrap, topic_name, [b"after"]))

    assert private_kafka.bootstrap == bootstrap
    assert asyncio.run(consume(bootstrap, topic_name, 2)) == [b"before", b"after"]


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("kind", [EmbeddedRedis, RedisServer])
def test_redis_comes_back_on_its_port_with_its_append_only_file(
    kind: type[EmbeddedRedis | RedisServer], end: str
) -> None:
    with started(kind(args=DURABLE), real=kind is RedisServer) as server:
        with Redis.from_url(server.url) as client:
            client.set("card", "row")
        ended_and_started(server, end)
        with Redis.from_url(server.url) as client:
            assert client.get("card") == b"row"


def test_the_embedded_broker_comes_back_on_its_port_and_empty(topic_name: str) -> None:
    with started(EmbeddedBroker(), real=False) as server:
        asyncio.run(create(server.bootstrap, topic_name))
        ended_and_started(server, "stop")
        asyncio.run(create(server.bootstrap, topic_name))


@pytest.mark.parametrize("kind", [EmbeddedRedis, RedisServer])
def test_a_password_with_odd_characters_is_asked_for_and_taken(
    kind: type[EmbeddedRedis | RedisServer],
) -> None:
    with started(kind(password='p@ss "\\/#'), real=kind is RedisServer) as server:
        with Redis.from_url(server.url) as client:
            assert client.ping()
        port = client.connection_pool.connection_kwargs["port"]
        stranger = Redis(port=port, retry=Retry(NoBackoff(), 0))
        with stranger, pytest.raises(AuthenticationError):
            stranger.ping()


@pytest.mark.parametrize("kind", [EmbeddedBroker, EmbeddedRedis])
def test_closing_leaves_no_process_and_no_directory(
    kind: type[EmbeddedBroker | EmbeddedRedis],
) -> None:
    with started(kind(), real=False) as server:
        pid, directory = server.pid, server.log.parent
    assert not alive(pid)
    assert not directory.exists()
    assert not server.running
    server.close()


def test_starting_a_running_server_and_ending_a_stopped_one_do_nothing() -> None:
    with started(EmbeddedRedis(), real=False) as server:
        pid = server.pid
        assert server.start().pid == pid
        server.stop()
        server.stop()
        server.kill()
        with pytest.raises(ServerFailed, match="not running"):
            _ = server.pid


def test_a_paused_server_is_stopped_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedRedis, "stop_timeout_s", 0.2)
    with started(EmbeddedRedis(), real=False) as server:
        pid = server.pid
        os.kill(pid, signal.SIGSTOP)
    assert not alive(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel call is Linux's")
@pytest.mark.parametrize("kind", ["EmbeddedBroker", "EmbeddedRedis"])
def test_a_server_dies_with_a_parent_that_is_killed(kind: str) -> None:
    code = (
        "import time\n"
        f"from streams.devstack import {kind}\n"
        f"server = {kind}().start()\n"
        "print(server.pid, server.log.parent, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        assert alive(int(pid))
        parent.kill()
    assert ended_within(int(pid), seconds=5)
    shutil.rmtree(os.fsdecode(directory))  # which a killed parent cannot do


def test_a_server_that_cannot_start_says_why() -> None:
    server = EmbeddedRedis(args=("--no-such-option", "1"))
    with pytest.raises(ServerFailed, match="no-such-option"), server:
        pass
    assert not server.log.parent.exists()


def test_a_program_that_is_missing_is_named_with_what_to_install() -> None:
    hint = "no-such-redis is not on PATH: apt-get install redis-server"
    with pytest.raises(ServerMissing, match=hint), RedisServer("no-such-redis"):
        pass


def test_kafka_leaves_no_process(private_kafka: KafkaBroker) -> None:
    pid, directory = private_kafka.pid, private_kafka.log.parent
    private_kafka.close()
    assert not alive(pid)
    assert not directory.exists()


def test_kafka_without_jars_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "java"
    java.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerMissing, match="make kafka"), KafkaBroker(tmp_path):
        pass
    java.unlink()
    with pytest.raises(ServerMissing, match="java is not on PATH"), KafkaBroker(tmp_path):
        pass


def test_free_ports_are_different_free_and_below_the_kernels_own() -> None:
    assert free_ports(0) == []
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=16 * 1024 * 1024)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def consume(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


def ended_and_started(server: EmbeddedBroker | KafkaBroker | RedisServer, end: str) -> None:
    pid = server.pid
    getattr(server, end)()
    assert not alive(pid)
    server.start()
    assert server.pid != pid


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    # An orphan that ended stays a zombie where process 1 does not reap.
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def ended_within(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False

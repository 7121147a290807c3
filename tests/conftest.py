"""Servers and names for the tests.

A test that takes `stack` runs twice: on the embedded pair and on the real one. What a machine does
not have is skipped with the reason, unless ``TOCSIN_TEST_REQUIRE_REAL=1`` says that it must be
there, as in CI. Servers live as long as the session, so topics and Redis keys carry a name of
their own (`topic_name`, `namespace`); a test that breaks a server takes a private one.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

import hypothesis
import pytest

from streams.devstack import (
    EmbeddedBroker,
    EmbeddedRedis,
    KafkaBroker,
    RedisServer,
    ServerMissing,
)
from streams.devstack.process import Server

ROOT = Path(__file__).resolve().parent.parent
KAFKA_JARS = Path(os.environ.get("TOCSIN_TEST_KAFKA_JARS", ROOT / ".cache" / "kafka"))
REDIS_SERVER = os.environ.get("TOCSIN_TEST_REDIS_SERVER", "redis-server")
# As large as the largest record that the default settings let a worker produce.
KAFKA_PROPERTIES = {"message.max.bytes": str(16 * 1024 * 1024)}
DURABLE = ("--appendonly", "yes")

HANG_MS = 60_000
hypothesis.settings.register_profile("default", deadline=HANG_MS, print_blob=True)
hypothesis.settings.register_profile("fuzz", deadline=HANG_MS, print_blob=True, max_examples=20_000)
hypothesis.settings.load_profile("default")

NEED_SERVERS = {
    "broker",
    "redis_url",
    "stack",
    "real_stack",
    "embedded_broker",
    "embedded_redis",
    "kafka_broker",
    "redis_server",
    "private_kafka",
    "private_redis",
}


AnyServer = TypeVar("AnyServer", bound=Server)


class Stack(NamedTuple):
    """Where one pair of servers listens."""

    bootstrap: str
    redis_url: str


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `make chaos` and `make soak`."""
    group = parser.getgroup("chaos")
    group.addoption("--chaos-seed", type=int, default=5, help="draws when and where faults hit")
    group.addoption("--chaos-table", type=Path, help="write what was played to this page")
    soak = parser.getgroup("soak")
    soak.addoption("--soak-minutes", type=float, default=60.0, help="how long faults befall")
    soak.addoption("--soak-rate", type=float, default=6000.0, help="payments a second")
    soak.addoption("--soak-page", type=Path, help="write what was seen to this page")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a server, so that a forgotten marker does not slow `make check` down."""
    for item in items:
        if NEED_SERVERS.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a CUDA device where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@contextmanager
def started(server: AnyServer, *, real: bool) -> Iterator[AnyServer]:
    """Run `server`; skip, or fail where it was asked for, when the machine does not have it."""
    try:
        server.start()
    except ServerMissing as missing:
        server.close()
        absent(str(missing), fail=real and os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1")
    try:
        yield server
    finally:
        server.close()


def absent(reason: str, *, fail: bool) -> NoReturn:
    """End the test: something that it needs is not on this machine."""
    if fail:
        pytest.fail(f"TOCSIN_TEST_REQUIRE_REAL=1, and {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[EmbeddedBroker]:
    with started(EmbeddedBroker(), real=False) as server:
        yield server


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker]:
    with started(KafkaBroker(KAFKA_JARS, KAFKA_PROPERTIES), real=True) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates of one authority; see `certified`."""
    return certified(tmp_path_factory.mktemp("certificates"))


def certified(folder: Path) -> Path:
    """Make an authority in `folder`: ``kafka`` and ``redis`` on this machine, and clients."""
    if shutil.which("openssl") is None:
        absent("openssl is not on PATH", fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1")
    here = "127.0.0.1,localhost"
    names = (f"kafka={here}", f"redis={here}", "admin", "payments", "labels", "monitor")
    subprocess.run([ROOT / "ops" / "secure" / "certificates.sh", folder, *names], check=True)
    return folder


@pytest.fixture(scope="session")
def embedded_redis() -> Iterator[EmbeddedRedis]:
    with started(EmbeddedRedis(), real=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with started(RedisServer(REDIS_SERVER), real=True) as server:
        yield server


@pytest.fixture(scope="session", params=["embedded", "kafka"])
def broker(request: pytest.FixtureRequest) -> EmbeddedBroker | KafkaBroker:
    """A broker; its address is `broker.bootstrap`."""
    name = {"embedded": "embedded_broker", "kafka": "kafka_broker"}[request.param]
    server: EmbeddedBroker | KafkaBroker = request.getfixturevalue(name)
    return server


@pytest.fixture(scope="session", params=["embedded", "redis-server"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of a Redis."""
    name = {"embedded": "embedded_redis", "redis-server": "redis_server"}[request.param]
    server: RedisServer = request.getfixturevalue(name)
    return server.url


@pytest.fixture(scope="session", params=["embedded", "real"])
def stack(request: pytest.FixtureRequest) -> Stack:
    """A broker and a Redis: the embedded pair, then the real one."""
    if request.param == "real":
        real: Stack = request.getfixturevalue("real_stack")
        return real
    broker: EmbeddedBroker = request.getfixturevalue("embedded_broker")
    redis: EmbeddedRedis = request.getfixturevalue("embedded_redis")
    return Stack(broker.bootstrap, redis.url)


@pytest.fixture(scope="session")
def real_stack(kafka_broker: KafkaBroker, redis_server: RedisServer) -> Stack:
    """Apache Kafka and Redis only, for tests of what the embedded pair does not have."""
    return Stack(kafka_broker.bootstrap, redis_server.url)


@pytest.fixture
def private_kafka() -> Iterator[KafkaBroker]:
    """An Apache Kafka for one test to stop, kill and start again; nobody else uses it."""
    with started(KafkaBroker(KAFKA_JARS, KAFKA_PROPERTIES), real=True) as server:
        yield server


@pytest.fixture
def private_redis() -> Iterator[RedisServer]:
    """A Redis with an append-only file for one test to stop, kill and start again."""
    with started(RedisServer(REDIS_SERVER, args=DURABLE), real=True) as server:
        yield server


@pytest.fixture
def topic_name() -> str:
    """A topic that no other test uses; the test creates it."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def namespace() -> str:
    """A consumer group and Redis namespace that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


def named_by(variable: str) -> Path:
    """What an environment variable names; skips the test where it is not set and may be missing."""
    named = os.environ.get(variable)
    if not named:
        absent(
            f"{variable} does not name the data that this needs",
            fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1",
        )
    path = Path(named)
    if not path.exists():
        pytest.fail(f"{variable} names {named!r}, which is not there", pytrace=False)
    return path


@pytest.fixture(scope="session")
def handbook() -> Path:
    """The public card transactions of the Fraud Detection Handbook, a Parquet file."""
    return named_by("TOCSIN_HANDBOOK")


@pytest.fixture(scope="session")
def coco() -> Path:
    """Pictures of COCO: a folder ``train2017`` and their boxes, ``instances_train2017.json``."""
    return named_by("TOCSIN_COCO")


@pytest.fixture(scope="session")
def yolox_nano() -> Path:
    """The official YOLOX-Nano weights, an ONNX file."""
    return named_by("TOCSIN_YOLOX_NANO")


@pytest.fixture(scope="session")
def mot15() -> Path:
    """Six public sequences of the MOTChallenge 2015, a folder."""
    return named_by("TOCSIN_MOT15")


@pytest.fixture(scope="session")
def vtest() -> Path:
    """PETS09-S2L1, a folder: the video ``vtest.avi`` and its boxes and ids, ``gt.txt``."""
    return named_by("TOCSIN_VTEST")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands run in the test process set logging up; the next test must not notice."""
    names = ["", *logging.root.manager.loggerDict]
    before = {name: logging.getLogger(name).level for name in names}
    handlers = logging.root.handlers[:]
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
    logging.root.handlers[:] = handlers

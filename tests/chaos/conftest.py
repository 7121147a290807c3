"""What the chaos tests share: the events, their reference, and a drill of their own for each."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
import torch

from models.checkpoint import Manifest, save
from models.fraud.network import FEATURES, FraudNetwork, FraudNetworkConfig, config_fields
from streams.devstack import RedisServer
from tests.chaos import oracle
from tests.chaos.drill import Case, Drill
from tests.chaos.events import Stream, simulated
from tests.chaos.table import (
    Witness,
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    witness,
    write,
)
from tests.chaos.worker import START_S, WorkerProcess
from tests.conftest import Stack

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport", "witness"]

ALERT_SHARE = 0.05
"""One transaction in twenty is an alert: enough of them fall into every gap that a fault opens."""

MakeCase = Callable[..., Case]
MakeDrill = Callable[..., Drill]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page on faults, where it was asked for."""
    page = session.config.getoption("chaos_table")
    if page is not None:
        write(session.config, page)


def under_load(drill: Drill, batches: int) -> WorkerProcess:
    """Wait until the worker, or the one after it, has begun so many more, and others are left."""
    worker = drill.workers[-1]
    due = worker.begun + batches
    deadline = time.monotonic() + START_S
    while worker.begun < due:
        assert time.monotonic() < deadline, f"not {batches} batches more:\n{worker.text()}"
        if drill.revived(slow=(), member="one"):
            worker, due = drill.workers[-1], batches
        time.sleep(0.02)
    assert drill.lag() > 0, "everything was done"
    return worker


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Draws when and where a fault hits; `--chaos-seed` gives it another turn."""
    return random.Random(f"{request.config.getoption('chaos_seed')} {request.node.name}")


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a small network with random weights and a wide range of scores."""
    return make_network(tmp_path_factory.mktemp("network") / "chaos", seed=11)


def make_network(stem: Path, *, seed: int, hidden: int = 32) -> Path:
    """Write such a network; return its manifest."""
    torch.manual_seed(seed)
    network = FraudNetwork(FraudNetworkConfig(hidden=hidden, head=32))
    with torch.no_grad():
        network.out.weight.mul_(30.0)
        network.rows.weight.normal_(0.0, 0.1)
    network.measure(torch.linspace(-3.0, 3.0, 1000))
    manifest = Manifest(
        name="chaos",
        version="0",
        features={group: list(names) for group, names in FEATURES.items()},
        config=config_fields(network.config),
        threshold=0.5,
        training={},
        metrics={},
        created="2026-01-01T00:00:00Z",
    )
    save(stem, network, manifest)
    return stem.with_suffix(".json")


@pytest.fixture(scope="session")
def make_case(network_file: Path) -> MakeCase:
    """Compute what must come of a stream."""

    def make(
        stream: Stream, poison: Collection[oracle.Place] = (), manifest: Path = network_file
    ) -> Case:
        network = oracle.Network(manifest.with_suffix(".safetensors"))
        expected = oracle.expect(stream.partitions, network, poison)
        threshold = oracle.threshold_in_a_gap(expected.scores, ALERT_SHARE)
        return Case(stream, manifest, threshold, expected)

    return make


@pytest.fixture(scope="session")
def case(make_case: MakeCase) -> Case:
    """The events of most tests: about 80 batches."""
    return make_case(simulated(count=40_000, cards=500, seed=1))


@pytest.fixture(scope="session")
def long_case(make_case: MakeCase) -> Case:
    """Three times as many, for faults that go on for minutes."""
    return make_case(simulated(count=120_000, cards=500, seed=3))


@pytest.fixture(scope="session")
def small_case(make_case: MakeCase) -> Case:
    """A short stream of other events."""
    return make_case(simulated(count=8_000, cards=200, seed=2))


@pytest.fixture
def make_drill(
    topic_name: str, namespace: str, tmp_path: Path, witness: Witness
) -> Iterator[MakeDrill]:
    """Set a drill up on servers of choice."""
    drills = []

    def make(case: Case, bootstrap: str, redis_url: str, *, beside: Drill | None = None) -> Drill:
        """`beside` another one: on its topic, with a group and alerts of its own."""
        drill = Drill(case, bootstrap, redis_url, topic_name, namespace, tmp_path, witness)
        drills.append(drill)
        if beside is not None:
            drill.group, drill.alerts = f"{namespace}-new", f"{topic_name}-alerts-new"
            drill.folder = tmp_path / "beside"
            drill.folder.mkdir()
        drill.prepare(is_there=beside is not None)
        return drill

    yield make
    for drill in drills:
        drill.close()


@pytest.fixture
def drill(make_drill: MakeDrill, case: Case, real_stack: Stack) -> Drill:
    """A drill on the shared servers."""
    return make_drill(case, real_stack.bootstrap, real_stack.redis_url)


@pytest.fixture
def fragile_drill(
    make_drill: MakeDrill, case: Case, real_stack: Stack, private_redis: RedisServer
) -> Drill:
    """A drill whose Redis nobody else uses."""
    return make_drill(case, real_stack.bootstrap, private_redis.url)

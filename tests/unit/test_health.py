"""The health server answers from its own thread, whatever the others do."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from streams.errors import SettingsError
from streams.health import HealthServer
from streams.metrics import Metrics
from streams.pipeline.batch import Batch
from streams.pipeline.lane import Lane
from streams.settings import HealthSettings
from streams.state.memory import MemoryStateStore
from streams.status import Status
from tests.fakes.pipeline import CountingDetector
from tests.fakes.records import batch_of

LOCAL = HealthSettings(port=0)


@pytest.fixture
def status() -> Status:
    return Status()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("fraud")


@pytest.fixture
def server(status: Status, metrics: Metrics) -> Iterator[HealthServer]:
    with HealthServer(LOCAL, status, metrics.registry) as server:
        yield server


def get(port: int, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def test_a_process_that_runs_is_live_ready_or_not(server: HealthServer) -> None:
    assert get(server.port, "/livez")[0] == 200


def test_readiness_is_503_with_the_reasons_until_there_are_none(
    server: HealthServer, status: Status
) -> None:
    code, kind, body = get(server.port, "/readyz")
    assert (code, kind) == (503, "application/json")
    assert json.loads(body) == {
        "ready": False,
        "state": "joining",
        "reasons": ["joining the consumer group"],
    }

    status.joined()
    code, _, body = get(server.port, "/readyz")
    assert (code, json.loads(body)) == (200, {"ready": True, "state": "ready", "reasons": []})


def test_a_reason_with_quotes_and_other_scripts_is_still_json(
    server: HealthServer, status: Status
) -> None:
    status.joined()
    status.block('topic "détail"\n is gone')
    assert json.loads(get(server.port, "/readyz")[2])["reasons"] == ['topic "détail"\n is gone']


def test_metrics_are_in_the_text_format_and_follow_the_counters(
    server: HealthServer, metrics: Metrics
) -> None:
    metrics.events.inc(3)
    metrics.set_lag(2, 17)
    metrics.moves(2)
    with metrics.stage("prepare"):
        pass
    code, kind, body = get(server.port, "/metrics")

    assert code == 200
    assert kind.startswith("text/plain")
    assert 'tocsin_events_total{agent="fraud"} 3.0' in body
    assert 'tocsin_lag_records{agent="fraud",partition="2"} 17.0' in body
    assert 'tocsin_stage_seconds_total{agent="fraud",stage="prepare"}' in body
    metrics.forget_partition(2)
    metrics.forget_partition(2)  # revoked before it ever had a lag
    assert 'partition="2"' not in get(server.port, "/metrics")[2]


def test_two_agents_in_one_process_have_metrics_of_their_own(metrics: Metrics) -> None:
    other = Metrics("labels")
    other.events.inc()
    assert metrics.registry.get_sample_value("tocsin_events_total", {"agent": "fraud"}) == 0


def test_another_path_is_404(server: HealthServer) -> None:
    assert get(server.port, "/")[0] == 404


def test_a_port_that_is_taken_is_said_in_one_line(status: Status, metrics: Metrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*port"):
            HealthServer(HealthSettings(port=port), status, metrics.registry)


def test_a_client_that_says_nothing_keeps_nobody_waiting(server: HealthServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        assert get(server.port, "/livez")[0] == 200


def test_a_client_that_hangs_up_leaves_no_trace(
    server: HealthServer, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert get(server.port, "/livez")[0] == 200
    time.sleep(0.1)
    assert capfd.readouterr().err == ""


def test_it_answers_and_the_event_loop_runs_while_a_batch_computes_for_seconds(
    server: HealthServer, metrics: Metrics
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def compute(_: Batch) -> None:
        entered.set()
        leave.wait(10)

    store = MemoryStateStore()
    store.claim([0], 1)
    detector = CountingDetector(store)
    detector.on_infer = compute

    async def scenario() -> tuple[float, float]:
        lane = Lane(detector, metrics)
        scored = lane.submit(batch_of([b"x"]))
        await asyncio.to_thread(entered.wait, 5)
        worst_gap, slowest, last = 0.0, 0.0, time.perf_counter()
        for _ in range(20):
            asked = time.perf_counter()
            code, _, _ = await asyncio.to_thread(get, server.port, "/livez")
            assert code == 200
            slowest = max(slowest, time.perf_counter() - asked)
            await asyncio.sleep(0.01)  # a heartbeat of the consumer would run here
            worst_gap, last = max(worst_gap, time.perf_counter() - last), time.perf_counter()
        assert not scored.done()
        leave.set()
        await scored
        lane.close()
        return worst_gap, slowest

    worst_gap, slowest = asyncio.run(scenario())
    assert worst_gap < 2
    assert slowest < 2

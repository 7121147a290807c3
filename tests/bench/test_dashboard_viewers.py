"""What fifty who look on cost a dashboard, and the workers beside it: `make bench-dashboard`."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from streams.bench.procfs import cpu_s, rss_mib
from streams.bench.systems import fresh, measure
from streams.bench.workload import preload, transactions
from streams.settings import Settings
from tests.conftest import Stack
from tests.dashboard import Dashboard, a_fraud, dashboard_bed, send_alerts, serving
from tests.worker import Bed

pytestmark = pytest.mark.bench

VIEWERS = 50
SECONDS = 15.0
BATCH, EVERY_S = 10, 0.45
PAIRS, EVENTS = 7, 800_000
LEAST_RATIO = 0.95
"""Of a worker's throughput with viewers to that without."""


async def look_on(address: str, viewers: int, gone: threading.Event) -> list[int]:
    """Alerts that each of them was told of, until `gone`."""
    told = [0] * viewers

    async def one(place: int) -> None:
        async with (
            httpx.AsyncClient(timeout=None) as client,
            client.stream("GET", f"{address}/api/events") as answer,
        ):
            async for line in answer.aiter_lines():
                told[place] += line.startswith("event: alert")

    tasks = [asyncio.create_task(one(place)) for place in range(viewers)]
    await asyncio.to_thread(gone.wait)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return told


@pytest.mark.parametrize("viewers", [0, VIEWERS])
def test_viewers(viewers: int, real_stack: Stack, tmp_path: Path) -> None:
    name = f"v{uuid.uuid4().hex[:8]}"
    bed = dashboard_bed(real_stack.bootstrap, real_stack.redis_url, name, tmp_path)
    with serving(bed) as dashboard:
        gone, told = threading.Event(), list[int]()
        watching = threading.Thread(
            target=lambda: told.extend(asyncio.run(look_on(dashboard.address, viewers, gone)))
        )
        watching.start()
        dashboard.until(
            lambda: dashboard.client.get("/api/health").json()["watching"] == viewers, "viewers"
        )
        sent, began, before = 0, time.monotonic(), cpu_s(dashboard.process.pid)
        while time.monotonic() - began < SECONDS:
            send_alerts(bed, [a_fraud(sent + place) for place in range(BATCH)])
            sent += BATCH
            time.sleep(EVERY_S)
        took = time.monotonic() - began
        cores = (cpu_s(dashboard.process.pid) - before) / took
        rss = rss_mib(dashboard.process.pid)
        time.sleep(2.0)
        gone.set()
        watching.join()
    print(f"{viewers} viewers, {sent / took:.0f} alerts/s: {cores:.3f} cores, {rss:.0f} MiB")
    assert told == [sent] * viewers  # nobody missed one, nobody got one twice


@contextmanager
def looked_at(dashboard: Dashboard, viewers: int) -> Iterator[None]:
    """So many look on during the block."""
    gone = threading.Event()
    watching = threading.Thread(
        target=lambda: asyncio.run(look_on(dashboard.address, viewers, gone))
    )
    watching.start()
    try:
        dashboard.until(
            lambda: dashboard.client.get("/api/health").json()["watching"] == viewers, "viewers"
        )
        yield
    finally:
        gone.set()
        watching.join()


@contextmanager
def alerts_coming(bed: Bed) -> Iterator[None]:
    """Alerts come to the dashboard all the time, looked at or not."""
    gone = threading.Event()

    def send() -> None:
        sent = 0
        while not gone.wait(EVERY_S):
            send_alerts(bed, [a_fraud(sent + place) for place in range(BATCH)])
            sent += BATCH

    sending = threading.Thread(target=send)
    sending.start()
    yield
    gone.set()
    sending.join()


def test_a_worker_is_as_fast_while_fifty_look_on(real_stack: Stack, tmp_path: Path) -> None:
    """Whole topics by the bundled network, in turn with viewers and without; ratios by pair."""
    name = f"w{uuid.uuid4().hex[:8]}"
    bed = dashboard_bed(real_stack.bootstrap, real_stack.redis_url, name, tmp_path)
    settings: Settings = bed.settings.model_copy(update={"fraud": Settings().fraud})
    topic = fresh("viewers")
    preload(settings.kafka, topic, transactions(None, EVENTS))
    speed: dict[int, list[float]] = {0: [], VIEWERS: []}
    cores: dict[int, list[float]] = {0: [], VIEWERS: []}
    rss: dict[int, list[float]] = {0: [], VIEWERS: []}
    with serving(bed) as dashboard, alerts_coming(bed):
        measure("tocsin", settings, topic, EVENTS)  # what is cold is warm by then
        for pair in range(PAIRS):
            for viewers in (0, VIEWERS) if pair % 2 else (VIEWERS, 0):
                with looked_at(dashboard, viewers):
                    pid = dashboard.process.pid
                    began, before = time.monotonic(), cpu_s(pid)
                    speed[viewers].append(measure("tocsin", settings, topic, EVENTS).events_per_s)
                    cores[viewers].append((cpu_s(pid) - before) / (time.monotonic() - began))
                    rss[viewers].append(rss_mib(pid))
    ratios = [
        with_them / without for without, with_them in zip(speed[0], speed[VIEWERS], strict=True)
    ]
    for viewers in (0, VIEWERS):
        print(
            f"{viewers} viewers: worker {statistics.median(speed[viewers]):,.0f} events/s; "
            f"dashboard {statistics.median(cores[viewers]):.3f} cores, {max(rss[viewers]):.0f} MiB"
        )
    print(
        f"ratio with to without, median of {PAIRS} pairs {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f})"
    )
    assert statistics.median(ratios) >= LEAST_RATIO

"""What fifty who look on cost a dashboard, and the workers beside it: `make bench-dashboard`."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import statistics
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio

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
PAIRS, EVENTS = 7, 1_600_000
SETTLE_S = 3.0
"""From the last page that is opened to what is measured: it is about those that look on."""

ALERT = re.compile(r"transactions:0:\d+:fraud")
LEAST_RATIO = 0.95
"""Of a worker's throughput with viewers to that without."""


BROWSER = {"zone": "Europe/Vienna", "dark": None, "width": 1440, "sound": None, "fragment": ""}
"""What a page asks its browser."""

Told = dict[str, float]
"""The alerts that one who looks on was told of, and when first (s, monotonic)."""

Look = Callable[[str, Told], Coroutine[Any, Any, None]]
"""Looks on at an address for ever, and notes what it is told."""


class Unread:
    """The JSON of a page's socket, read only where something is asked: browsers are elsewhere.

    What fifty of them would do to draw a list is not the dashboard's cost, and these share its
    processors.
    """

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text: str) -> Any:
        if text.startswith(('["update"', '["run_javascript"')) and "request_id" not in text:
            return ["drawn", text]
        return json.loads(text)


async def by_events(address: str, told: Told) -> None:
    """A program that follows the API's events."""
    async with (
        httpx.AsyncClient(timeout=None) as client,
        client.stream("GET", f"{address}/api/events") as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and "id" in (data := json.loads(line[6:])):
                told.setdefault(data["id"], time.monotonic())


async def by_page(address: str, told: Told) -> None:
    """An open page, as its dashboard sees it: all that a browser would be sent to draw."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        page = (await client.get("/")).text
    (found,) = re.findall(r"query: (\{.*\}),$", page, re.MULTILINE)
    tab = str(uuid.uuid4())
    query = {
        **ast.literal_eval(found),  # a page has it as Python prints it
        "tab_id": tab,
        "document_id": tab,
        "implicit_handshake": "true",
    }
    socket = socketio.AsyncClient(reconnection=False, json=Unread)

    async def asked(told: dict[str, Any]) -> None:
        if "request_id" in told:
            answer = {"client_id": query["client_id"], "result": BROWSER}
            await socket.emit("javascript_response", {"request_id": told["request_id"], **answer})

    async def drawn(text: str) -> None:
        now = time.monotonic()
        for name in ALERT.findall(text):
            told.setdefault(name, now)

    socket.on("run_javascript", asked)
    socket.on("drawn", drawn)
    await socket.connect(
        f"{address}?{urllib.parse.urlencode(query)}",
        {"origin": address},
        socketio_path="/_nicegui_ws/socket.io",
        transports=["websocket"],
    )
    try:
        await socket.wait()
    finally:
        await socket.disconnect()


async def look_on(look: Look, address: str, told: Sequence[Told], gone: threading.Event) -> None:
    """One viewer for each of `told`, until `gone`."""
    tasks = [asyncio.create_task(look(address, one)) for one in told]
    await asyncio.to_thread(gone.wait)
    ended = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if ended:
        raise AssertionError("a viewer ended") from ended[0].exception()


@contextmanager
def looked_at(dashboard: Dashboard, look: Look, viewers: int) -> Iterator[Sequence[Told]]:
    """So many look on during the block; gives the alerts that each is told of."""
    gone, told = threading.Event(), [Told() for _ in range(viewers)]
    with ThreadPoolExecutor(1) as beside:
        watching = beside.submit(asyncio.run, look_on(look, dashboard.address, told, gone))
        try:
            dashboard.until(
                lambda: dashboard.client.get("/api/health").json()["watching"] == viewers,
                f"{viewers} viewers",
            )
            time.sleep(SETTLE_S)
            yield told
        finally:
            gone.set()
        watching.result()


@pytest.mark.parametrize(
    ("look", "viewers"), [(by_page, 0), (by_events, VIEWERS), (by_page, VIEWERS)]
)
def test_viewers(look: Look, viewers: int, real_stack: Stack, tmp_path: Path) -> None:
    name = f"v{uuid.uuid4().hex[:8]}"
    bed = dashboard_bed(real_stack.bootstrap, real_stack.redis_url, name, tmp_path)
    with serving(bed) as dashboard, looked_at(dashboard, look, viewers) as told:
        sent, began, before = Told(), time.monotonic(), cpu_s(dashboard.process.pid)
        while time.monotonic() - began < SECONDS:
            alerts = [a_fraud(len(sent) + place) for place in range(BATCH)]
            sent |= dict.fromkeys([alert.id for alert in alerts], time.monotonic())
            send_alerts(bed, alerts)
            time.sleep(EVERY_S)
        took = time.monotonic() - began
        cores = (cpu_s(dashboard.process.pid) - before) / took
        rss = rss_mib(dashboard.process.pid)
        time.sleep(2.0)
    print(
        f"{viewers} viewers {look.__name__.replace('_', ' ')}, {len(sent) / took:.0f} alerts/s: "
        f"{cores:.3f} cores, {rss:.0f} MiB"
    )
    assert [set(one) for one in told] == [set(sent)] * viewers  # none missed one
    late = [one[name] - sent[name] for one in told for name in sent]
    if late:
        p99 = statistics.quantiles(late, n=100)[-1]
        print(f"told after {statistics.median(late):.2f} s (median), {p99:.2f} s (p99)")


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
    try:
        yield
    finally:
        gone.set()
        sending.join()


def test_a_worker_is_as_fast_while_fifty_look_on(real_stack: Stack, tmp_path: Path) -> None:
    """Whole topics by the bundled network, in turn with viewers and without; ratios by pair."""
    name = f"w{uuid.uuid4().hex[:8]}"
    bed = dashboard_bed(real_stack.bootstrap, real_stack.redis_url, name, tmp_path)
    bed.create_topics(only=[bed.settings.topics.forgotten])
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
                with looked_at(dashboard, by_page, viewers):
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

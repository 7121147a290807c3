"""What fifty who look on cost a dashboard: `make bench-dashboard`."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import uuid
from pathlib import Path

import httpx
import pytest

from tests.conftest import Stack
from tests.dashboard import a_fraud, dashboard_bed, send_alerts, serving

pytestmark = pytest.mark.bench

VIEWERS = 50
SECONDS = 15.0
BATCH, EVERY_S = 10, 0.45


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


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
    print(f"{viewers} viewers, {sent / took:.0f} alerts/s: {cores:.3f} cores, {rss} MiB")
    assert told == [sent] * viewers  # nobody missed one, nobody got one twice

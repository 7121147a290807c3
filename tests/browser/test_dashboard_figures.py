"""How much the list holds before one feels it."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace
from playwright.sync_api import Page, expect

from streams.dashboard.view.store import ViewStore
from tests.browser.test_dashboard_pages import ROW
from tests.dashboard import a_fraud, serving
from tests.worker import Bed

ALERTS = 10_000
LIMIT_MS = 200.0
TRIES = 3
"""A task that is long by itself is so every time; one that was kept waiting is not."""


def test_ten_thousand_alerts_are_scrolled_without_a_long_task(page: Page, bed: Bed) -> None:
    group = f"{bed.settings.dashboard.group}-many"
    dashboard = bed.settings.dashboard.model_copy(update={"group": group})
    settings = bed.settings.model_copy(update={"dashboard": dashboard})
    now = round(time.time() * 1000)

    async def fill() -> None:
        store = ViewStore(settings)
        for start in range(0, ALERTS, 500):
            numbers = range(start, start + 500)
            alerts = [replace(a_fraud(10_000 + n), processed_at=now - n) for n in numbers]
            await store.put_alerts(alerts)
        await store.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, fill()).result()
    with serving(bed, group=group) as running:
        for _ in range(TRIES):
            longest = _longest_task(page, running.address)
            if longest < LIMIT_MS:
                break
    assert longest < LIMIT_MS


def _longest_task(page: Page, address: str) -> float:
    """Scroll through everything and back; return the longest task of the page (ms)."""
    page.goto(address)
    page.locator(ROW).first.wait_for()
    assert "longtask" in page.evaluate("PerformanceObserver.supportedEntryTypes")
    page.evaluate(
        "() => { window.long = []; new PerformanceObserver(seen => window.long.push("
        "...seen.getEntries().map(one => one.duration))).observe({entryTypes: ['longtask']}) }"
    )
    page.locator(".grid").hover()
    for _ in range(400):
        page.mouse.wheel(0, 2_500)
        page.wait_for_timeout(25)
        if page.locator(".status").inner_text() == "10,000 alerts":
            break
    expect(page.locator(".status")).to_have_text("10,000 alerts")
    for _ in range(20):
        page.mouse.wheel(0, -8_000)
        page.wait_for_timeout(50)
    long = [float(one) for one in page.evaluate("window.long")]
    rows = page.locator(ROW).count()
    longest = max(long, default=0.0)
    print(f"{len(long)} tasks above 50 ms, the longest {longest:.0f} ms; {rows} drawn")
    assert rows < 100  # what is outside the screen is not drawn
    return longest

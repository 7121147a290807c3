"""A broker that hangs, as one meets it in Chromium: the list says that it stands still."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from playwright.sync_api import Page, expect

from streams.dashboard.pages.decide import TWICE_S
from streams.dashboard.sender import WITHIN_S
from streams.dashboard.view.store import ViewStore
from streams.devstack import EmbeddedBroker, RedisServer
from streams.schemas import Alert
from streams.settings import Settings
from tests.browser.test_dashboard_pages import ROW
from tests.conftest import started
from tests.dashboard import a_fraud, dashboard_bed, send_alerts, serving

NOTICED_S = 12.0
"""Five of silence, five for the answer to a question, and what a busy machine adds."""


def test_a_list_whose_broker_hangs_says_so_until_it_is_back(
    page: Page, redis_server: RedisServer, tmp_path: Path
) -> None:
    name = f"s{uuid.uuid4().hex[:8]}"
    with started(EmbeddedBroker(), real=False) as broker:
        bed = dashboard_bed(broker.bootstrap, redis_server.url, name, tmp_path)
        with serving(bed) as running:

            def is_ready() -> bool:
                return running.client.get("/readyz").status_code == 200

            running.until(is_ready, "a view that is up to date")
            page.goto(running.address)
            strip, status = page.locator(".list [role=alert]"), page.locator(".status")
            send_alerts(bed, [a_fraud(1)])
            expect(status).to_have_text("1 alert")
            expect(strip).to_be_empty()
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                running.until(lambda: not is_ready(), "word of a broker that hangs")
                assert time.monotonic() - began < NOTICED_S
                expect(strip).to_contain_text("Alerts stand still since")
                expect(strip).to_contain_text(f"Kafka at {broker.bootstrap}")
                assert "does not answer in time" in running.client.get("/api/health").json()["view"]
                page.locator(ROW).click()
                read = page.locator(".detail .awaited")
                expect(read).to_have_text("Reading the topic…")
                expect(read).to_contain_text("payments could not be read: Kafka at")
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            running.until(is_ready, "a view that goes on")
            expect(strip).to_be_empty()
            send_alerts(bed, [a_fraud(2)])
            expect(status).to_have_text("2 alerts")


def test_a_decision_that_a_broker_does_not_confirm_is_said_and_the_list_goes_on_meanwhile(
    page: Page, redis_server: RedisServer, tmp_path: Path
) -> None:
    name = f"s{uuid.uuid4().hex[:8]}"
    with started(EmbeddedBroker(), real=False) as broker:
        bed = dashboard_bed(broker.bootstrap, redis_server.url, name, tmp_path)
        with serving(bed) as running:
            page.goto(running.address)
            status, toast = page.locator(".status"), page.locator(".toast")
            send_alerts(bed, [a_fraud(number) for number in (1, 2)])
            expect(status).to_have_text("2 alerts")
            page.locator(ROW).first.click()
            page.keyboard.press("c")
            expect(toast).to_contain_text("Confirmed 1 alert")
            expect(status).to_have_text("1 alert")
            page.wait_for_timeout(1_000 * TWICE_S)
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                page.keyboard.press("c")
                shown(bed.settings, [a_fraud(3)])
                expect(status).to_have_text("2 alerts")
                assert time.monotonic() - began < WITHIN_S
                expect(toast).to_contain_text("did not confirm this within 10 s")
                assert time.monotonic() - began < WITHIN_S + 6
            finally:
                os.kill(broker.pid, signal.SIGCONT)
            # What may have been taken is done again, once, whatever became of it.
            page.locator(ROW).last.click()
            page.keyboard.press("c")
            expect(toast).to_contain_text("Confirmed 1 alert")
            expect(status).to_have_text("1 alert")


def shown(settings: Settings, alerts: list[Alert]) -> None:
    """Put alerts into the view as a dashboard does that still hears a broker."""

    async def put() -> None:
        store = ViewStore(settings)
        await store.put_alerts(alerts)
        await store.close()

    with ThreadPoolExecutor(1) as pool:  # Playwright has the loop of this thread
        pool.submit(asyncio.run, put()).result()

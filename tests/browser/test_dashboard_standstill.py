"""A broker that hangs, as one meets it in Chromium: the list says that it stands still."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

from playwright.sync_api import Page, expect

from streams.devstack import EmbeddedBroker, RedisServer
from tests.browser.test_dashboard_pages import ROW
from tests.conftest import started
from tests.dashboard import a_fraud, dashboard_bed, send_alerts, serving


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
            strip = page.locator(".list [role=alert]")
            send_alerts(bed, [a_fraud(1)])
            expect(page.locator(".status")).to_have_text("1 alert")
            expect(strip).to_be_empty()
            os.kill(broker.pid, signal.SIGSTOP)
            try:
                began = time.monotonic()
                running.until(lambda: not is_ready(), "word of a broker that hangs")
                assert time.monotonic() - began < 20
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
            expect(page.locator(".status")).to_have_text("2 alerts")

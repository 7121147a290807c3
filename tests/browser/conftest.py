"""A real Chromium, and a dashboard with something on it."""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from streams.dashboard.access.users import hash_password
from streams.dashboard.rules.file import digest
from streams.demo.ground import STREET_RULES
from streams.frame_metrics import FrameMetrics
from streams.health import HealthServer
from streams.metrics import Metrics
from streams.schemas import Alert
from streams.settings import HealthSettings
from streams.status import Status
from tests import evidence
from tests.conftest import Stack, absent
from tests.dashboard import Dashboard, dashboard_bed, send_alerts, serving
from tests.worker import Bed, Produced

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PASSWORD = "correct horse battery"
CAMERAS = {"street": 4, "yard": 11, "gate": 23}
FRAUDS = 18
WAIT_MS = 30_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")  # its loop would be in the way of other tests
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        absent("no chromium", fail=os.environ.get("TOCSIN_TEST_REQUIRE_REAL") == "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=WAIT_MS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme="light", timezone_id="Asia/Kolkata"
    )
    made.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page; whatever its console calls an error fails the test.

    Left out are a server that is restarted, a login that is refused, and a chart of the page
    library that is taken away while it is still being loaded.
    """
    made, errors = context.new_page(), list[str]()
    expected = ("ERR_", "401 (Unauthorized)", "reading 'dispose'")

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(one in message.text for one in expected):
            errors.append(message.text)

    made.on("console", listen)
    made.on("pageerror", lambda error: errors.append(str(error)))
    yield made
    assert errors == []


@pytest.fixture(scope="module")
def bed(real_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    name, folder = f"b{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("browser")
    made = dashboard_bed(real_stack.bootstrap, real_stack.redis_url, name, folder)
    scoring = made.settings.fraud.model_copy(update={"publish_scores": True})
    made.settings = made.settings.model_copy(update={"fraud": scoring})
    topics = made.settings.topics
    made.create_topics(only=[topics.frames, topics.transactions, topics.scores])
    yield made
    made.close()


@pytest.fixture(scope="module")
def worker() -> Iterator[str]:
    """The address of what reports as workers do, with figures that move."""
    with ExitStack() as stack:
        fraud, vision, frames = Metrics("fraud"), Metrics("vision"), FrameMetrics()
        frames.register(vision.registry)
        frames.took_rules(digest(STREET_RULES.read_bytes()))  # of which beds have a copy
        fraud.serves("fraud", "2", "b8e5" * 16)
        vision.serves("street", "1", "ab19" * 16)
        addresses = []
        for metrics in (fraud, vision):
            metrics.ready.set(1)
            status = Status()
            status.joined()
            server = HealthServer(HealthSettings(port=0), status, metrics.registry)
            addresses.append(f"http://127.0.0.1:{stack.enter_context(server).port}")
        gone = threading.Event()
        stack.callback(gone.set)
        threading.Thread(target=_work, args=(fraud, vision, frames, gone), daemon=True).start()
        yield " ".join(addresses)


def _work(fraud: Metrics, vision: Metrics, frames: FrameMetrics, gone: threading.Event) -> None:
    for place, name in enumerate(("log_amount", "log_gap", "night", "score")):
        fraud.drift(name).set(0.04 / (1 + place))
    fraud.precision.set(0.93)
    fraud.recall.set(0.71)
    fraud.objects_judged({"person-passes": (40, 31)})
    for camera in CAMERAS:
        frames.seen(camera, round(time.time() * 1000), up=True)
    frames.seen("gate", 0, up=False)
    step = 0
    while not gone.wait(0.2):
        step += 1
        fraud.events.inc(900 + 40 * (step % 9))
        fraud.set_lag(0, 30 + 10 * (step % 5))
        for metrics, latency in ((fraud, 0.02), (vision, 0.06)):
            metrics.latency.observe(latency * (1 + 0.05 * (step % 7)))
            metrics.batch_size.observe(180 + step % 40)
        vision.events.inc(3)
        for camera in CAMERAS.keys() - {"gate"}:
            frames.seen(camera, round(time.time() * 1000), up=True)
            frames.count({(camera, "detected"): 1})


def seeded(bed: Bed) -> list[Alert]:
    """Two dozen alerts of both kinds, as the bundled networks raise them, on their topics."""
    found = evidence.frauds(bed, FRAUDS)
    # The newest is one for which two things speak.
    found.sort(key=evidence.besides)
    seen = evidence.objects(bed, CAMERAS)
    frames = [
        Produced(shot, alert.entity.encode(), [("captured_at", str(alert.event_time).encode())])
        for alert, shot in seen
    ]
    bed.produce(bed.settings.topics.frames, frames)
    half = len(found) // 2
    things = [alert for alert, _ in seen]
    return evidence.moved([*found[:half], *things, *found[half:]], every_ms=4_370)


@pytest.fixture(scope="module")
def dashboard(bed: Bed, worker: str) -> Iterator[Dashboard]:
    """One to which nobody has to log in, with alerts, cameras and workers."""
    send_alerts(bed, seeded(bed))
    with serving(bed, workers=worker.split()) as running:
        running.until(lambda: len(running.alerts()) == FRAUDS + len(CAMERAS), "the alerts")
        yield running


@pytest.fixture(scope="module")
def guarded(bed: Bed) -> Iterator[Dashboard]:
    secret = hash_password(PASSWORD)
    roles = {"ann": "analyst", "vic": "viewer"}
    users = {name: {"role": role, "password": secret} for name, role in roles.items()}
    with serving(bed, users=users) as running:
        yield running


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Keeps a picture of a page where ``TOCSIN_SCREENSHOTS`` names a folder for it."""
    folder = os.environ.get("TOCSIN_SCREENSHOTS")

    def take(page: Page, name: str) -> None:
        if folder:
            page.wait_for_timeout(1500)
            page.screenshot(path=Path(folder) / f"{name}.png")

    return take

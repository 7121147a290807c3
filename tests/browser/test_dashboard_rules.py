"""A zone that is drawn in Chromium raises alerts on the next frames that a real worker sees."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Dialog, Locator, Page, expect

from streams.devstack.ports import free_ports
from streams.frames import FrameHeaders
from streams.schemas import decode_action, decode_alert
from tests.browser.conftest import PASSWORD, WAIT_MS
from tests.browser.test_dashboard_pages import accessible
from tests.conftest import ROOT
from tests.dashboard import Dashboard, serving
from tests.fakes.blobs import walk
from tests.worker import Bed, Produced

CAMERA = "hall"
BLOBS = (sys.executable, str(ROOT / "tests" / "chaos" / "vision_worker.py"))
SEEN = """
# what stands here must stay
[[rule]]
name = "crowd"
kind = "count"
limit = 50
classes = ["person"]
"""


@pytest.fixture(scope="module")
def hall(bed: Bed) -> Iterator[str]:
    """A camera before which somebody walks by again and again, and the address of its worker.

    The network alone is a stand-in: it sees bright rectangles.
    """
    rules = bed.settings.vision.rules
    assert rules is not None
    rules.write_text(SEEN)
    port = free_ports(1)[0]
    gone = threading.Event()

    def play() -> None:
        frames, number = walk(45), 0
        while not gone.wait(0.2):
            headers = FrameHeaders(
                camera_id=CAMERA, captured_at=round(time.time() * 1000), seq=number
            ).to_headers()
            shot = Produced(frames[number % len(frames)], CAMERA.encode(), headers)  # type: ignore[arg-type]
            bed.produce(bed.settings.topics.frames, [shot])
            number += 1

    settings = {
        "TOCSIN_HEALTH__PORT": str(port),
        "TOCSIN_VISION__THREADS": "1",
        "TOCSIN_VISION__MAX_AGE_S": "20",
    }
    with bed.worker("vision", command=BLOBS, **settings) as worker:
        worker.until_ready()
        playing = threading.Thread(target=play)
        playing.start()
        worker.until(lambda: worker.metric("tocsin_camera_up"), "the camera")
        yield f"http://127.0.0.1:{port}"
        gone.set()
        playing.join()


@pytest.fixture(scope="module")
def dashboard(bed: Bed, hall: str) -> Iterator[Dashboard]:
    with serving(bed, workers=[hall]) as running:
        yield running


def press(page: Page, picture: Locator, *corners: tuple[float, float]) -> None:
    """Press on the picture, each corner in shares of it."""
    for x, y in corners:
        box: Any = picture.bounding_box()
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def alerts_of(bed: Bed, rule: str) -> list[Any]:
    records = bed.read(bed.settings.topics.alerts)
    found = [decode_alert(record.value) for record in records]
    return [alert for alert in found if alert.detail.get("rule") == rule]


def test_a_zone_is_drawn_saved_and_enforced_on_the_next_frames(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    page.goto(f"{dashboard.address}/cameras")
    page.locator(".tile", has_text=CAMERA).get_by_role("link", name="Zones and rules").click()
    shown = page.locator(".canvas img")
    page.wait_for_function("document.querySelector('.canvas img')?.naturalWidth === 160")
    expect(page.locator(".pill")).to_have_text("in force", timeout=WAIT_MS)
    # Three corners and a wrong fourth, which is taken back; then it is closed at the first.
    page.get_by_role("button", name="Zone", exact=True).click()
    corners = [(0.05, 0.1), (0.95, 0.1), (0.95, 0.95), (0.5, 0.5)]
    for count, corner in enumerate(corners, 1):
        press(page, shown, corner)
        expect(page.locator("svg .corner")).to_have_count(count, timeout=WAIT_MS)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("svg .corner")).to_have_count(3, timeout=WAIT_MS)
    press(page, shown, (0.05, 0.95))
    expect(page.locator("svg .corner")).to_have_count(4, timeout=WAIT_MS)
    press(page, shown, (0.055, 0.105))
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Name", exact=True)).to_have_value("zone-1-entered")
    form.get_by_label("Name", exact=True).fill("who enters")
    form.get_by_role("button", name="Take it").click()
    expect(form.get_by_role("alert")).to_contain_text("A name is 1 to 64 letters")
    form.get_by_label("Name", exact=True).fill("hall-entered")
    form.get_by_label("Who or what").click()
    page.get_by_role("option", name="person").click()
    page.keyboard.press("Escape")
    form.get_by_role("button", name="Take it").click()
    expect(page.locator(".pill")).to_have_text("not saved", timeout=WAIT_MS)
    expect(page.locator(".sheet")).to_contain_text("Something enters a zone: zone-1")
    # It gets a name, which the rule follows.
    page.locator(".sheet").get_by_label("Name").fill("hall")
    page.locator(".sheet").get_by_label("Name").press("Enter")
    expect(page.locator(".sheet")).to_contain_text("Something enters a zone: hall")
    assert alerts_of(bed, "hall-entered") == []
    accessible(page)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".pill")).to_have_text("in force", timeout=WAIT_MS)

    found = dashboard.until(lambda: alerts_of(bed, "hall-entered"), "an alert of the new rule")
    assert found[0].reasons[0].text == "person entered hall"
    rules = bed.settings.vision.rules
    assert rules is not None
    assert "# what stands here must stay" in rules.read_text()
    said = [decode_action(record.value) for record in bed.read(bed.settings.topics.audit)]
    assert [one.text.partition(" (")[0] for one in said if one.action == "rules"] == [
        "added zone hall; added rule hall-entered"
    ]


def test_what_somebody_else_saved_is_not_undone(page: Page, bed: Bed, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.address}/cameras/{CAMERA}/rules")
    page.get_by_role("button", name="Delete rule").first.click()
    path = f"/api/cameras/{CAMERA}/rules"
    theirs = dashboard.client.get(path)
    part = {**theirs.json(), "lines": {"fence": [[0.1, 0.1], [0.9, 0.9]]}}
    etag = {"if-match": theirs.headers["etag"]}
    assert dashboard.client.put(path, json=part, headers=etag).status_code == 200
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("somebody else changed", timeout=WAIT_MS)
    assert dashboard.client.get(path).json() == json.loads(json.dumps(part))


def test_who_leaves_with_something_unsaved_is_asked(page: Page, dashboard: Dashboard) -> None:
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.goto(f"{dashboard.address}/cameras/{CAMERA}/rules")
    page.get_by_role("button", name="Delete rule").first.click()
    expect(page.locator(".pill")).to_have_text("not saved")
    page.once("dialog", stay)
    page.get_by_role("link", name="Health").click(no_wait_after=True)
    page.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    assert page.url.endswith("/rules")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".pill")).to_have_text("in force")
    page.get_by_role("link", name="Health").click()
    expect(page).to_have_url(f"{dashboard.address}/health")


def test_one_can_draw_for_a_camera_without_a_picture(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    rules = bed.settings.vision.rules
    assert rules is not None
    before = rules.read_text()
    rules.write_text(f'{before}\n{SEEN.replace("crowd", "dock")}cameras = ["dock"]\n')
    page.goto(f"{dashboard.address}/cameras/dock/rules")
    expect(page.locator(".canvas")).to_contain_text("No picture yet")
    box: Any = page.locator(".canvas").bounding_box()
    assert abs(box["width"] / box["height"] - 16 / 9) < 0.02
    page.get_by_role("button", name="Line", exact=True).click()
    press(page, page.locator(".canvas img"), (0.2, 0.5))
    expect(page.locator("svg .corner")).to_have_count(1)
    press(page, page.locator(".canvas img"), (0.8, 0.5))
    form = page.get_by_role("dialog")
    expect(form.get_by_label("Name", exact=True)).to_have_value("line-1-crossed")
    page.keyboard.press("Escape")
    expect(form).to_have_count(0)
    expect(page.locator(".sheet").get_by_label("Corners")).to_have_value("20 50, 80 50")
    accessible(page)
    rules.write_text(before)


def test_a_camera_of_which_nothing_speaks_is_said_not_to_be_there(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(f"{dashboard.address}/cameras/nope/rules")
    expect(page.locator(".empty")).to_contain_text("No such camera")
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    accessible(page)


def test_a_viewer_sees_the_rules_and_changes_none(page: Page, guarded: Dashboard) -> None:
    page.goto(guarded.address)
    page.get_by_label("Name").fill("vic")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{guarded.address}/")
    page.goto(f"{guarded.address}/cameras/{CAMERA}/rules")
    expect(page.locator(".sheet")).to_contain_text("crowd", timeout=WAIT_MS)
    for name in ("Zone", "Line", "Save"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_disabled()
    expect(page.get_by_role("button", name="Delete rule")).to_have_count(0)

"""The dashboard in Chromium: what one sees, decides by keyboard, and may do."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from msgspec.structs import replace
from playwright.sync_api import Browser, Page, expect

from streams.frame_metrics import FrameMetrics
from streams.health import HealthServer
from streams.metrics import Metrics
from streams.schemas import DeadLetter, Reason, decode_action, decode_label
from streams.settings import HealthSettings
from streams.status import Status
from tests.browser.conftest import PASSWORD, WAIT_MS
from tests.dashboard import Dashboard, a_fraud, an_object, send_alerts, serving
from tests.evidence import THRESHOLD
from tests.worker import Bed, Produced

Take = Callable[[Page, str], None]
ROW = ".ag-center-cols-container .ag-row"
SCORED = ".detail .payments td:nth-child(4)"
CUT = """
() => [...document.querySelectorAll('.chart')].flatMap(chart => {
  const frame = chart.getBoundingClientRect();
  return [...chart.querySelectorAll('svg text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width > 0 && (box.left < frame.left || box.right > frame.right)
  }).map(text => text.textContent)
})
"""
"""Words that reach out of their chart."""

TOO_LONG = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.textContent)"
"""What is cut in its place."""


def open_list(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.address)
    page.locator(ROW).first.wait_for(timeout=WAIT_MS)


def row(page: Page, alert_id: str) -> Any:
    return page.locator(f'{ROW}[row-id="{alert_id}"]')


def accessible(page: Page, *, without: tuple[str, ...] = ()) -> None:
    """No serious finding of axe-core."""
    options = {"resultTypes": ["violations"], "rules": {n: {"enabled": False} for n in without}}
    found = Axe().run(page, options=options).response["violations"]
    serious = [one for one in found if one["impact"] in {"serious", "critical"}]
    assert not serious, [
        (one["id"], [(node["html"][:200], node["failureSummary"]) for node in one["nodes"][:3]])
        for one in serious
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_list_shows_an_alert_in_full_and_is_accessible(
    scheme: Any, page: Page, dashboard: Dashboard, picture: Take
) -> None:
    page.emulate_media(color_scheme=scheme)
    open_list(page, dashboard)
    expect(page.locator(".status")).to_have_text("21 alerts")
    page.get_by_role("button", name="Objects").click()
    expect(page.locator(".status")).to_have_text("3 alerts")
    page.keyboard.press("j")
    shown = page.locator(".detail .picture img")
    expect(shown).to_be_visible(timeout=WAIT_MS)
    scores = page.locator(f'{ROW} [col-id="score"]')
    expect(scores.first).to_have_text(re.compile(r"^\d\.\d{3}$"))
    why = page.locator(f'{ROW} [col-id="what"]').first
    expect(why).to_have_attribute("title", why.inner_text())  # in full, where it is cut
    picture(page, f"object-{scheme}")
    page.get_by_role("button", name="Fraud").click()
    expect(page.locator(".status")).to_have_text("18 alerts")
    page.keyboard.press("j")
    expect(page.locator(".detail")).to_contain_text("the card's usual amount", timeout=WAIT_MS)
    expect(page.locator(".detail .sub")).to_contain_text("card-")
    expect(page.locator(".detail .payments tr.this")).to_have_count(1, timeout=WAIT_MS)
    expect(page.locator(".detail")).to_contain_text("as far back as the topic goes")
    expect(page.locator(".detail")).to_contain_text("verdicts on payments there")
    assert page.evaluate(CUT) == []
    scored = re.findall(r"\d\.\d{3}", " ".join(page.locator(SCORED).all_inner_texts()))
    assert scored
    chart = page.locator(".detail .chart[aria-label^='Amounts over time']")
    told = re.search(r"(\d+) others with an alert", chart.get_attribute("aria-label") or "")
    assert told is not None
    above = sum(float(score) >= THRESHOLD for score in scored)
    assert above <= int(told[1]) + 1  # and this one
    if scheme == "light":
        page.locator(".detail .part", has_text="The card's payments").evaluate(
            "part => part.scrollIntoView({block: 'start'})"
        )
        picture(page, "history")
        page.locator(".detail .headline").scroll_into_view_if_needed()
    page.get_by_role("button", name="All").click()
    expect(page.locator(".status")).to_have_text("21 alerts")
    picture(page, f"alerts-{scheme}")
    accessible(page)


def test_on_a_phone(chromium: Browser, dashboard: Dashboard, picture: Take) -> None:
    phone = chromium.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    phone.set_default_timeout(WAIT_MS)
    page = phone.new_page()
    open_list(page, dashboard)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator(".why").first).to_contain_text(re.compile(r"\S+ · \S+"))
    assert page.locator(".filters .q-field__native > span").evaluate_all(TOO_LONG) == []
    picture(page, "phone")
    page.locator(f'{ROW} [col-id="what"]').first.tap()
    expect(page.get_by_role("button", name="Confirm")).to_be_visible(timeout=WAIT_MS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "phone-alert")
    accessible(page)
    phone.close()


@pytest.mark.parametrize(
    ("scheme", "width", "height"),
    [("dark", 390, 844), ("light", 390, 844), ("dark", 2560, 1440)],
    ids=["a phone at night", "a phone by day", "a wall"],
)
def test_every_page_fits_a_phone_and_a_wall_and_is_accessible(
    chromium: Browser, dashboard: Dashboard, scheme: Any, width: int, height: int
) -> None:
    is_phone = width < 1000
    screen = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        is_mobile=is_phone,
        has_touch=is_phone,
    )
    screen.set_default_timeout(WAIT_MS)
    page = screen.new_page()
    fraud, thing = (dashboard.alerts(kind=kind)[0]["id"] for kind in ("fraud", "object"))
    shown = {
        "/": ROW,
        f"/alerts/{fraud}": ".payments tr.this",
        f"/alerts/{thing}": ".picture polygon.place",
        "/cameras": ".tile img",
        "/cameras/street/rules": "svg .zone",
        "/health": ".charts .panel",
    }
    for address, what in shown.items():
        page.goto(f"{dashboard.address}{address}")
        page.locator(what).first.wait_for(state="attached")  # of no width, where it is upright
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        accessible(page)
    screen.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_the_legend_of_a_card_is_in_one_piece(page: Page, dashboard: Dashboard, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{dashboard.address}/alerts/{dashboard.alerts(kind='fraud')[0]['id']}")
    page.locator(".payments tr.this").wait_for()
    chart = page.locator(".chart[aria-label^='Amounts over time']")
    said = ["score", "payment", "large", "alert", "this one"]
    expect(chart.locator("svg text").filter(has_text="this one")).to_have_count(1)
    boxes: list[Any] = [chart.get_by_text(name, exact=True).bounding_box() for name in said]
    frame: Any = chart.bounding_box()
    assert len({round(box["y"]) for box in boxes}) == 1
    assert min(box["x"] for box in boxes) >= frame["x"]
    assert max(box["x"] + box["width"] for box in boxes) <= frame["x"] + frame["width"]


def test_times_are_in_the_zone_of_who_looks(page: Page, dashboard: Dashboard) -> None:
    open_list(page, dashboard)
    page.keyboard.press("j")
    first = page.locator(f'{ROW}[row-index="0"]').get_attribute("row-id")
    opened = dashboard.alert(first or "")["opened"] / 1000
    there = time.strftime("%H:%M:%S", time.gmtime(opened + 5.5 * 3600))  # Kolkata
    expect(page.locator(".detail .sub")).to_contain_text(there)
    expect(row(page, first or "").locator('[col-id="opened"]')).to_contain_text(there)


def test_decisions_by_keyboard_several_at_once_and_taken_back(
    page: Page, bed: Bed, dashboard: Dashboard, picture: Take
) -> None:
    alerts = [a_fraud(1000 + number, card="keys") for number in range(4)]
    send_alerts(bed, alerts)
    dashboard.until_alerts(4, "keys")
    open_list(page, dashboard)
    page.get_by_label("Card or camera").fill("keys")
    expect(page.locator(".status")).to_have_text("4 alerts", timeout=WAIT_MS)
    page.keyboard.press("c")  # what is typed is no command
    page.keyboard.press("Backspace")
    page.locator(".ag-header").first.click()  # out of the field: keys are commands again

    page.keyboard.press("j")
    expect(page.locator(f"{ROW}.ag-row-selected")).to_have_count(1)
    first = page.locator(f"{ROW}.ag-row-selected").get_attribute("row-id")
    page.keyboard.press("c")
    expect(page.locator(".toast")).to_contain_text("Confirmed 1 alert", timeout=WAIT_MS)
    expect(page.locator(".status")).to_have_text("3 alerts")
    # The next one is chosen; several: those that are ticked, with a reason.
    expect(page.locator(f'{ROW}.ag-row-selected:not([row-id="{first}"])')).to_have_count(1)
    page.locator(".ag-selection-checkbox input").nth(0).set_checked(True)
    page.locator(".ag-selection-checkbox input").nth(1).set_checked(True)
    page.keyboard.press("d")  # the box that was ticked still has the focus
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Dismiss 2 alerts", timeout=WAIT_MS)
    expect(dialog.get_by_role("radio").first).to_be_focused()
    page.keyboard.press("2")
    expect(dialog.get_by_role("radio", name="Known customer or visitor")).to_be_checked()
    picture(page, "dismiss")
    page.keyboard.press("Enter")
    expect(page.locator(".status")).to_have_text("1 alert")
    assert len(dashboard.alerts("keys", decision="dismissed")) == 2
    page.keyboard.press("u")
    expect(page.locator(".status")).to_have_text("3 alerts", timeout=WAIT_MS)
    # Down, and up again to the one before; what is chosen is what would be suppressed.
    for key, index in (("k", 0), ("k", 0), ("k", 0), ("j", 1), ("j", 2), ("k", 1)):
        page.keyboard.press(key)
        expect(page.locator(f"{ROW}.ag-row-selected")).to_have_attribute("row-index", str(index))
    page.keyboard.press("s")
    expect(dialog).to_contain_text("Suppress", timeout=WAIT_MS)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("?")
    expect(dialog).to_contain_text("take back what was done last")
    accessible(page, without=("color-contrast",))  # it still fades in
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()

    said = [decode_label(record.value) for record in bed.read(bed.settings.topics.labels)]
    mine = [one for one in said if getattr(one, "card_id", "") == "keys"]
    assert [one.is_fraud for one in mine].count(True) == 1
    assert [one.is_fraud for one in mine].count(False) == 2
    assert [one.is_fraud for one in mine].count(None) == 2
    assert {one.note for one in mine} == {"", "Known customer or visitor", "undone"}


def test_a_dialog_that_is_closed_is_off_the_page(page: Page, dashboard: Dashboard) -> None:
    open_list(page, dashboard)
    unseen, dialog = page.locator("[role=main] > .hidden"), page.get_by_role("dialog")
    before = unseen.count()
    for _ in range(3):
        page.keyboard.press("?")
        expect(dialog).to_be_visible()
        expect(unseen).to_have_count(before + 1)  # its part of the page that one does not see
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(unseen).to_have_count(before)


def test_space_is_about_the_row_that_was_chosen_by_key(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    send_alerts(bed, [a_fraud(1500 + number, card="space") for number in range(4)])
    dashboard.until_alerts(4, "space")
    page.goto(f"{dashboard.address}/#entity=space")
    expect(page.locator(".status")).to_have_text("4 alerts")
    page.locator(f'{ROW}[row-index="1"] [col-id="entity"]').click()
    chosen = page.locator(f"{ROW}.ag-row-selected")
    expect(chosen).to_have_attribute("row-index", "1")
    page.keyboard.press("j")
    expect(chosen).to_have_attribute("row-index", "2")
    name = chosen.get_attribute("row-id")
    focused = page.locator(f'{ROW}[row-id="{name}"] .ag-cell-focus')
    expect(focused).to_have_count(1)
    page.keyboard.press("Space")
    expect(chosen).to_have_count(0)
    # One that comes above moves the row down, and the focus goes with it.
    send_alerts(bed, [a_fraud(1504, card="space")])
    expect(row(page, name or "")).to_have_attribute("row-index", "3")
    expect(focused).to_have_count(1)
    page.keyboard.press("Space")
    expect(chosen).to_have_attribute("row-id", name or "")


def test_filters_that_leave_nothing_are_cleared_by_a_click(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(f"{dashboard.address}/?kind=fraud#entity=crad-1")
    nothing = page.locator(".nothing")
    expect(nothing).to_contain_text("No alert fits these filters")
    accessible(page)
    page.get_by_role("button", name="Clear filters").click()
    page.locator(ROW).first.wait_for()
    expect(nothing).to_be_hidden()
    expect(page.get_by_label("Card or camera")).to_have_value("")
    expect(page).to_have_url(f"{dashboard.address}/")


def test_several_are_decided_together_by_click(page: Page, bed: Bed, dashboard: Dashboard) -> None:
    alerts = [a_fraud(1300 + number, card="clicks") for number in range(4)]
    send_alerts(bed, alerts)
    dashboard.until_alerts(4, "clicks")
    open_list(page, dashboard)
    page.get_by_label("Card or camera").fill("clicks")
    expect(page.locator(".status")).to_have_text("4 alerts")
    boxes, bar = page.locator(".ag-selection-checkbox input"), page.locator(".several")
    boxes.nth(0).set_checked(True)
    expect(bar).to_be_hidden()
    for number in (1, 2):
        boxes.nth(number).set_checked(True)
    expect(bar).to_contain_text("3 chosen")
    expect(page.locator(".status")).to_be_hidden()
    accessible(page)
    bar.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    expect(page.locator(".status")).to_be_visible()
    for number in (0, 1, 3):
        boxes.nth(number).set_checked(True)
    expect(bar).to_contain_text("3 chosen")
    bar.get_by_role("button", name="Confirm").click()
    expect(page.locator(".toast")).to_contain_text("Confirmed 3 alerts")
    expect(page.locator(".status")).to_have_text("1 alert")
    expect(bar).to_be_hidden()
    assert len(dashboard.alerts("clicks", decision="confirmed")) == 3


def test_several_are_decided_together_on_a_phone(
    chromium: Browser, bed: Bed, dashboard: Dashboard
) -> None:
    send_alerts(bed, [a_fraud(1400 + number, card="taps") for number in range(3)])
    dashboard.until_alerts(3, "taps")
    phone = chromium.new_context(
        viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True
    )
    phone.set_default_timeout(WAIT_MS)
    page = phone.new_page()
    page.goto(f"{dashboard.address}/#entity=taps")
    expect(page.locator(".status")).to_have_text("3 alerts")
    boxes = page.locator(".ag-selection-checkbox input")
    boxes.nth(0).tap()
    boxes.nth(2).tap()
    expect(page.locator(".several")).to_contain_text("2 chosen")
    accessible(page)
    page.locator(".several").get_by_role("button", name="Dismiss").tap()
    page.get_by_role("dialog").get_by_role("button", name="Dismiss").tap()
    expect(page.locator(".status")).to_have_text("1 alert")
    assert len(dashboard.alerts("taps", decision="dismissed")) == 2
    phone.close()


def test_what_is_chosen_stays_after_a_reload_and_in_a_link(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    alerts = [a_fraud(1200 + number, card="link") for number in range(2)]
    send_alerts(bed, alerts)
    dashboard.until_alerts(2, "link")
    said = {"alerts": [alerts[0].id], "decision": "confirmed"}
    dashboard.client.post("/api/verdicts", json=said).raise_for_status()
    open_list(page, dashboard)
    page.get_by_role("button", name="Fraud").click()
    page.get_by_label("Card or camera").fill("link")
    expect(page.locator(".status")).to_have_text("1 alert")
    page.get_by_label("Decision").click()
    page.get_by_role("option", name="Confirmed").click()
    expect(row(page, alerts[0].id)).to_have_count(1)
    expect(page).to_have_url(f"{dashboard.address}/?kind=fraud&decision=confirmed#entity=link")
    other = page.context.new_page()
    page.reload()
    other.goto(page.url)
    for one in (page, other):
        expect(row(one, alerts[0].id)).to_have_count(1)
        expect(one.locator(".status")).to_have_text("1 alert")
        expect(one.get_by_label("Card or camera")).to_have_value("link")
    other.close()


def test_what_is_decided_is_what_is_shown_and_nothing_behind_a_dialog(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    alerts = [a_fraud(1100 + number, card="pane") for number in range(2)]
    send_alerts(bed, alerts)
    dashboard.until_alerts(2, "pane")
    open_list(page, dashboard)
    page.get_by_label("Card or camera").fill("pane")
    expect(page.locator(".status")).to_have_text("2 alerts")
    shown, ticked = (f'[row-id="{alert.id}"]' for alert in alerts)
    page.locator(f'{shown} [col-id="entity"]').click()
    expect(page.locator(".detail")).to_contain_text("Confirm")
    page.locator(f"{shown} .ag-selection-checkbox input").set_checked(False)
    page.locator(f"{ticked} .ag-selection-checkbox input").set_checked(True)

    page.keyboard.press("d")
    expect(page.get_by_role("dialog")).to_contain_text("Dismiss 1 alert")
    page.keyboard.press("c")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert len(dashboard.alerts("pane", decision="undecided")) == 2

    page.locator(".detail").get_by_role("button", name="Confirm").click()
    expect(page.locator(".status")).to_have_text("1 alert")
    (confirmed,) = dashboard.alerts("pane", decision="confirmed")
    assert confirmed["id"] == alerts[0].id


def test_suppress_note_and_share(page: Page, bed: Bed, dashboard: Dashboard) -> None:
    alert = a_fraud(2000, card="noisy")
    send_alerts(bed, [alert])
    dashboard.until_alerts(1, "noisy")
    page.goto(f"{dashboard.address}/alerts/{alert.id}")
    page.get_by_role("button", name="Note").click()
    page.get_by_role("dialog").locator("textarea").fill("<script>alert(1)</script> called them")
    page.get_by_role("button", name="Keep").click()
    dashboard.until(lambda: dashboard.alert(alert.id)["actions"], "the note")
    expect(page.locator(".toast")).to_have_text("Note kept", timeout=WAIT_MS)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Suppress").click()
    page.get_by_role("dialog").get_by_role("button", name="Suppress").click()
    expect(page.locator(".toast")).to_contain_text("noisy is suppressed until", timeout=WAIT_MS)
    page.reload()
    expect(page.locator(".sheet")).to_contain_text("Note: <script>alert(1)</script> called them")
    expect(page.locator(".sheet")).to_contain_text("Suppressed for 8 h")
    on_camera = {"kind": "object", "entity": "street", "minutes": 5}
    camera = dashboard.client.post("/api/suppressions", json=on_camera).json()
    page.goto(f"{dashboard.address}/cameras")
    expect(page.locator(".tile .pill:visible", has_text="suppressed")).to_have_count(1)
    dashboard.client.delete(f"/api/suppressions/{camera['id']}").raise_for_status()
    expect(page.locator(".tile .pill:visible", has_text="suppressed")).to_have_count(0)
    page.goto(dashboard.address)
    page.get_by_role("link", name="1 suppression hides alerts").click()
    expect(page).to_have_url(f"{dashboard.address}/health")
    expect(page.locator(".suppressed")).to_contain_text("noisy")
    page.get_by_role("button", name="Lift").click()
    dashboard.until(
        lambda: not any(one["active"] for one in dashboard.client.get("/api/suppressions").json()),
        "the end of the suppression",
    )
    # What somebody else does is seen on the open page.
    expect(page.locator(".suppressed")).to_have_count(0)
    wanted = {"kind": "fraud", "entity": "elsewhere", "minutes": 5}
    made = dashboard.client.post("/api/suppressions", json=wanted).json()
    expect(page.locator(".suppressed")).to_contain_text("elsewhere")
    dashboard.client.delete(f"/api/suppressions/{made['id']}").raise_for_status()
    expect(page.locator(".suppressed")).to_have_count(0)


def test_an_undo_lifts_the_suppression_that_was_made_last(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    alerts = [a_fraud(2200 + number, card="undo") for number in range(2)]
    send_alerts(bed, alerts)
    dashboard.until_alerts(2, "undo")
    page.goto(f"{dashboard.address}/#entity=undo")
    expect(page.locator(".status")).to_have_text("2 alerts")
    dialog, toast = page.get_by_role("dialog"), page.locator(".toast")
    page.keyboard.press("j")
    page.keyboard.press("d")
    dialog.get_by_role("button", name="Dismiss").click()
    expect(toast).to_contain_text("Dismissed 1 alert")
    expect(dialog).to_have_count(0)
    page.keyboard.press("n")
    dialog.locator("textarea").fill("called")
    page.keyboard.press("Control+Enter")
    expect(toast).to_have_text("Note kept")
    expect(dialog).to_have_count(0)
    page.keyboard.press("u")  # a note is nothing to take back, nor is what came before it
    page.keyboard.press("s")
    expect(dialog.get_by_label("Why (optional)")).to_be_focused()
    page.keyboard.press("Enter")
    expect(toast).to_contain_text("undo is suppressed until")
    expect(toast).to_contain_text("Undo (u)")
    expect(dialog).to_have_count(0)
    page.keyboard.press("u")
    expect(toast).to_have_text("undo is no longer suppressed")
    suppressions = dashboard.client.get("/api/suppressions").json()
    assert [one["active"] for one in suppressions if one["entity"] == "undo"] == [False]
    assert len(dashboard.alerts("undo", decision="dismissed")) == 1


def test_the_page_of_an_alert_is_live_and_has_the_keys_of_the_list(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    alert = an_object(2100, camera="pier")
    send_alerts(bed, [alert])
    dashboard.until_alerts(1, "pier")
    page.goto(f"{dashboard.address}/alerts/{alert.id}")
    expect(page.locator(".sheet")).to_contain_text("going on", timeout=WAIT_MS)
    page.keyboard.press("n")
    page.get_by_role("dialog").locator("textarea").fill("a fisherman")
    # It ends while somebody writes: what is shown changes, what is written stays.
    send_alerts(bed, [an_object(2100, 1, camera="pier", status="end")])
    expect(page.locator(".sheet")).not_to_contain_text("going on")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".sheet")).to_contain_text("Note: a fisherman")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("c")
    expect(page.locator(".sheet .pill.confirmed")).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator(".sheet .pill.undecided")).to_be_visible()


def test_cameras_and_health_are_shown_and_accessible(
    page: Page, dashboard: Dashboard, picture: Take
) -> None:
    page.goto(f"{dashboard.address}/cameras")
    expect(page.locator(".tile")).to_have_count(3, timeout=WAIT_MS)
    gate = page.locator(".tile", has_text="gate")
    expect(gate).to_contain_text("down")
    page.wait_for_function(
        "[...document.querySelectorAll('.tile img')].every(one => one.naturalWidth === 640)"
    )
    expect(page.locator(".tile rect.box")).to_have_count(3)
    expect(page.locator(".tile", has_text="street")).to_contain_text(
        re.compile(r"[1-9]\d*\.\d fps"), timeout=WAIT_MS
    )
    for place in range(3):
        tile: Any = page.locator(".tile").nth(place).bounding_box()
        link: Any = page.get_by_role("link", name="Zones and rules").nth(place).bounding_box()
        assert tile["y"] + tile["height"] - link["y"] - link["height"] >= 8
    picture(page, "cameras")
    accessible(page)
    page.goto(f"{dashboard.address}/cameras/street/rules")
    expect(page.locator(".pill")).to_have_text("in force", timeout=WAIT_MS)
    expect(page.locator(".sheet .reason").first).to_contain_text("for all cameras")
    page.get_by_role("button", name="street", exact=True).click()
    expect(page.locator("svg .corner")).to_have_count(4, timeout=WAIT_MS)
    picture(page, "rules")
    accessible(page)
    page.goto(f"{dashboard.address}/health")
    expect(page.locator(".figure", has_text="fraud")).to_contain_text("ready", timeout=WAIT_MS)
    expect(page.locator(".figure", has_text="fraud")).to_contain_text("fraud 2 (b8e5b8e5)")
    expect(page.locator(".charts .panel")).to_have_count(12)
    expect(page.locator(".figure", has_text="Redis")).to_contain_text("MiB", timeout=WAIT_MS)
    kafka = page.locator(".figure", has_text="Kafka")
    expect(kafka).to_contain_text("1 broker,", timeout=WAIT_MS)
    picture(page, "health")
    accessible(page)
    for _ in range(10):  # times go on, and each stands at the edge for a while
        assert page.evaluate(CUT) == []
        page.wait_for_timeout(1_000)


def test_a_tile_says_what_its_picture_does_not_show(page: Page, bed: Bed) -> None:
    """No picture; something that goes on and was not seen lately; a camera that is gone."""
    picture = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    bed.produce(bed.settings.topics.frames, [Produced(picture, b"hall")])
    long_ago = replace(an_object(8000, camera="hall"), event_time=1)
    box = {"x1": 0.1, "y1": 0.1, "x2": 0.5, "y2": 0.5}
    send_alerts(bed, [replace(long_ago, detail={**long_ago.detail, **box})])
    vision, frames = Metrics("vision"), FrameMetrics()
    frames.register(vision.registry)
    for camera in ("hall", "attic"):
        frames.seen(camera, round(time.time() * 1000), up=True)
    vision.ready.set(1)
    health = HealthServer(HealthSettings(port=0), Status(), vision.registry)
    group = f"{bed.settings.dashboard.group}-tiles"
    with (
        health as server,
        serving(bed, group=group, workers=[f"http://127.0.0.1:{server.port}"]) as running,
    ):
        running.until_alerts(1, "hall")
        page.goto(f"{running.address}/cameras")
        hall, attic = (page.locator(".tile", has_text=name) for name in ("hall", "attic"))
        expect(hall.locator("img")).to_be_visible()
        expect(hall.locator(".elsewhere")).to_have_text(
            "Going on, place not known: A person entered 'gate'"
        )
        expect(hall.locator("rect.box")).to_have_count(0)
        expect(attic).to_contain_text("No picture")
        expect(attic.locator("img")).to_be_hidden()
        accessible(page)
        frames.forget(["attic"])
        expect(attic).to_contain_text("no worker reports this camera any more")
        expect(hall).to_contain_text("up")


def test_a_dead_letter_is_looked_into_tried_and_sent_back(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    topics = bed.settings.topics
    dead = f"{topics.labels}.dead"
    bed.create_topics(only=[dead, f"{dead}.replayed"])
    headers = {
        "reason": "labelled_at is before event_time",
        "step": "decode",
        "topic": topics.labels,
        "partition": "0",
        "offset": "5",
        "timestamp": "1",
    }
    named = [(f"tocsin-{name}", value.encode()) for name, value in headers.items()]
    bed.produce(dead, [Produced(b"<b>bold</b>", b"shop-1", named, 0)])
    before = len(bed.read(topics.labels))

    page.goto(f"{dashboard.address}/health")
    page.get_by_text("labelled_at is before event_time").click()
    expect(page.locator(".letters pre")).to_have_text("<b>bold</b>")
    page.get_by_role("button", name="Send back").click()
    form = page.get_by_role("dialog")
    expect(form).to_contain_text(f"would go to {topics.labels}, partition 0", timeout=WAIT_MS)
    assert len(bed.read(topics.labels)) == before  # tried, not sent
    form.get_by_role("button", name="Send it back").click()
    expect(page.locator(".toast")).to_contain_text("1 sent", timeout=WAIT_MS)
    assert len(bed.read(topics.labels)) == before + 1
    page.get_by_role("button", name="Send back").click()
    expect(page.get_by_role("dialog")).to_contain_text("replayed before", timeout=WAIT_MS)
    said = [decode_action(record.value) for record in bed.read(topics.audit)]
    assert [one.text for one in said if one.action == "replay"] == [
        f"to send back: {dead}:0:0",
        "done: 1 sent",
    ]


def test_a_new_alert_sounds_where_one_asked_for_it(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    page.add_init_script(
        "window.tones = 0; const made = AudioContext.prototype.createOscillator;"
        "AudioContext.prototype.createOscillator = function() {"
        " window.tones += 1; return made.call(this) }"
    )
    open_list(page, dashboard)
    send_alerts(bed, [a_fraud(6000, card="quiet")])
    row(page, a_fraud(6000).id).wait_for()
    assert page.evaluate("window.tones") == 0
    page.get_by_role("button", name="Sound").click()
    page.wait_for_function("window.tones === 1")  # how it sounds
    send_alerts(bed, [a_fraud(6001, card="loud")])
    page.wait_for_function("window.tones === 2")
    page.reload()  # as after a restart
    row(page, a_fraud(6001).id).wait_for()
    expect(page.get_by_role("button", name="Sound")).to_have_attribute("aria-pressed", "true")
    send_alerts(bed, [a_fraud(6002, card="louder")])
    page.wait_for_function("window.tones === 1")


def test_keys_say_where_nothing_is_chosen_and_are_about_what_is_shown(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    send_alerts(bed, [a_fraud(6100, card="shown"), a_fraud(6101, card="other")])
    open_list(page, dashboard)
    page.keyboard.press("c")
    expect(page.locator(".toast")).to_contain_text("No alert chosen", timeout=WAIT_MS)
    row(page, a_fraud(6100).id).click()
    expect(page.locator(".detail .sub")).to_contain_text("card shown", timeout=WAIT_MS)
    page.get_by_label("Card or camera").fill("shown")
    expect(page.locator(".status")).to_have_text("1 alert", timeout=WAIT_MS)
    expect(page.locator(f"{ROW}.ag-row-selected")).to_have_count(1)
    expect(page.locator(".detail .sub")).to_contain_text("card shown")
    page.get_by_label("Card or camera").fill("other")
    expect(page.locator(".detail")).to_contain_text("No alert chosen", timeout=WAIT_MS)


def test_an_alert_whose_picture_is_gone_says_so(page: Page, bed: Bed, dashboard: Dashboard) -> None:
    long_ago = round(time.time() * 1000) - 100 * 3_600_000
    gone = replace(an_object(6200, camera="gone"), processed_at=long_ago, snapshot="gone")
    send_alerts(bed, [gone])
    page.route("**/picture?*", lambda route: route.fulfill(status=200, body="no picture"))
    dashboard.until_alerts(1, "gone")
    page.goto(f"{dashboard.address}/alerts/{quote(gone.id)}")
    expect(page.locator(".picture .nothing")).to_contain_text(
        "Pictures are kept for 72 hours", timeout=WAIT_MS
    )
    expect(page.locator(".picture img")).to_be_hidden()
    accessible(page)


def test_nobody_gets_in_without_a_password_and_a_viewer_cannot_decide(
    page: Page, guarded: Dashboard, bed: Bed, picture: Take
) -> None:
    page.goto(guarded.address)
    expect(page).to_have_url(f"{guarded.address}/login")
    picture(page, "login")
    accessible(page)
    page.get_by_label("Name").fill("vic")
    page.get_by_label("Password").fill("a guess")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not fit")
    page.get_by_label("Name").fill("vic")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.locator(ROW).first.wait_for()
    expect(page.locator(".who")).to_have_text("vic (viewer)")
    before = len(bed.read(bed.settings.topics.labels))
    page.keyboard.press("j")
    expect(page.locator(".detail .headline")).to_be_visible()
    expect(page.get_by_role("button", name="Confirm")).to_have_count(0)
    expect(page.get_by_role("button", name="Suppress")).to_have_count(0)
    page.keyboard.press("c")
    expect(page.locator(".toast")).to_contain_text("takes the role analyst", timeout=WAIT_MS)
    assert len(bed.read(bed.settings.topics.labels)) == before
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{guarded.address}/login", timeout=WAIT_MS)
    # A link that somebody was given leads there, by way of the login.
    page.goto(f"{guarded.address}/health")
    expect(page).to_have_url(f"{guarded.address}/login?to=%2Fhealth")
    page.get_by_label("Name").fill("vic")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page).to_have_url(f"{guarded.address}/health")


def test_every_page_of_who_logs_out_leaves(page: Page, guarded: Dashboard) -> None:
    page.goto(guarded.address)
    page.get_by_label("Name").fill("vic")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.locator(ROW).first.wait_for()
    other = page.context.new_page()
    other.goto(f"{guarded.address}/health")
    other.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{guarded.address}/login")


def test_an_alert_is_on_the_screen_within_a_second(
    page: Page, bed: Bed, dashboard: Dashboard
) -> None:
    open_list(page, dashboard)
    page.evaluate(
        """() => { window.seen = {}; new MutationObserver(() => {
            for (const row of document.querySelectorAll('.ag-row[row-id]'))
              window.seen[row.getAttribute('row-id')] ??= Date.now();
          }).observe(document.querySelector('.grid'), {childList: true, subtree: true}) }"""
    )
    sent: dict[str, float] = {}
    for number in range(50):
        alert = a_fraud(3000 + number, card="fast")
        sent[alert.id] = time.time() * 1000
        send_alerts(bed, [alert])
        page.wait_for_timeout(100)
    page.wait_for_function(f"Object.keys(window.seen).includes('{alert.id}')")
    seen: dict[str, float] = page.evaluate("window.seen")
    waits = [seen[name] - at for name, at in sent.items()]
    print(f"produced to visible: median {statistics.median(waits):.0f} ms, max {max(waits):.0f}")
    assert statistics.median(waits) < 1000


def test_a_restart_of_the_server_loses_and_doubles_nothing(page: Page, bed: Bed) -> None:
    group = f"{bed.settings.dashboard.group}-restarted"
    with serving(bed, group=group) as first:
        first.until(first.alerts, "alerts")
        open_list(page, first)
        page.get_by_label("Card or camera").fill("again")
        port = int(first.address.rpartition(":")[2])
        expect(page).to_have_url(re.compile("again"))  # who is restarted now knows the filter
        send_alerts(bed, [a_fraud(4000, card="again")])
        row(page, a_fraud(4000).id).wait_for()
    send_alerts(bed, [a_fraud(4001, card="again")])
    with serving(bed, group=group, port=port):
        send_alerts(bed, [a_fraud(4002, card="again"), a_fraud(4000, card="again")])
        for number in (4000, 4001, 4002):
            expect(row(page, a_fraud(number).id)).to_have_count(1, timeout=WAIT_MS)
        # As one reads it, whatever the rows are called.
        cards = page.locator(f'{ROW} [col-id="entity"]')
        expect(cards.filter(has_text="again")).to_have_count(3)
        # The page was loaded anew, and kept its filter.
        expect(page.locator(".status")).to_have_text("3 alerts")


HOSTILE = 'a/<img src=x onerror="window.hurt = 1"> & \'"`'


def test_text_from_outside_is_shown_as_it_is_wherever_it_stands(page: Page, bed: Bed) -> None:
    """Cards, cameras, rules, reasons, notes and dead letters: any of them may hold markup."""
    fraud, thing, settings = a_fraud(7000, card=HOSTILE), an_object(7001), bed.settings
    reasons = [Reason("terminal", HOSTILE, 0.4, {"place": HOSTILE})]
    fraud = replace(fraud, reasons=reasons, detail={**fraud.detail, "terminal_id": HOSTILE})
    name = f"frames:0:7001:1:{HOSTILE}"
    detail = {"camera_id": HOSTILE, "class": HOSTILE, "rule": HOSTILE}
    thing = replace(thing, id=name, event_id=f"{name}:0", entity=HOSTILE, reasons=reasons)
    send_alerts(bed, [fraud, replace(thing, detail=detail)])
    picture = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    bed.produce(settings.topics.frames, [Produced(picture, HOSTILE.encode())])
    dead = f"{settings.topics.alerts}.dead"
    bed.create_topics(only=[dead])
    letter = DeadLetter(HOSTILE.encode(), b"k", (), HOSTILE, "decode", "alerts", 0, 1, 1)
    bed.produce(dead, [Produced(letter.value, b"k", letter.to_headers(), 0)])

    vision, frames, status = Metrics("vision"), FrameMetrics(), Status()
    frames.register(vision.registry)
    frames.seen(HOSTILE, round(time.time() * 1000), up=True)
    vision.ready.set(1)
    health = HealthServer(HealthSettings(port=0), status, vision.registry)
    group = f"{settings.dashboard.group}-hostile"
    with (
        health as server,
        serving(bed, group=group, workers=[f"http://127.0.0.1:{server.port}"]) as running,
    ):
        running.until_alerts(2, HOSTILE)
        client = running.client
        for alert_id in (fraud.id, name):
            place = f"/api/alerts/{quote(alert_id, safe='')}/notes"
            client.post(place, json={"text": HOSTILE}).raise_for_status()
        wanted = {"kind": "object", "entity": HOSTILE, "minutes": 5, "reason": HOSTILE}
        client.post("/api/suppressions", json=wanted).raise_for_status()
        camera = f"/cameras/{quote(HOSTILE, safe='')}"
        running.until(lambda: client.get("/api/cameras").json(), "the camera")
        assert client.get(f"/api{camera}/picture").content == picture

        def shown(part: str, times: int) -> None:
            found = page.locator(part).get_by_text(HOSTILE)
            expect(found.nth(times - 1)).to_be_attached(timeout=WAIT_MS)
            assert page.locator("img[src=x]").count() == 0
            assert page.evaluate("window.hurt") is None

        open_list(page, running)
        shown(ROW, 2)
        page.keyboard.press("j")
        shown(".detail", 4)
        for alert_id, times in ((fraud.id, 5), (name, 5)):
            page.goto(f"{running.address}/alerts/{quote(alert_id, safe='')}")
            shown(".sheet", times)
        page.get_by_role("button", name="Suppress").click()
        shown(".dialog", 1)
        page.goto(f"{running.address}/cameras")
        shown(".tile", 1)
        page.goto(f"{running.address}{camera}/rules")
        shown(".page", 1)
        page.goto(f"{running.address}/health")
        shown(".suppressed", 2)
        shown(".letters", 2)

"""One alert in full: why, what is known around it, what was said about it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

import msgspec
from nicegui import ui

from streams.alerts.objects import BOX_FIELDS
from streams.dashboard.pages.charts import reasons_chart
from streams.dashboard.pages.decide import Decider
from streams.dashboard.pages.evidence import Around, draw_card, draw_terminal
from streams.dashboard.pages.frame import Visit, empty
from streams.dashboard.pages.words import (
    DECISIONS,
    address_of,
    ago,
    headline,
    length,
    place_of,
    value_of,
)
from streams.dashboard.view.records import OUTCOMES, ViewedAlert
from streams.schemas import Action, Alert, Scalar

_POINT: Final = re.compile(r"(?<![^ ])([01](?:\.\d{1,6})?),([01](?:\.\d{1,6})?)(?![^ ])")


Draw = Callable[[ViewedAlert, Around], None]


def draw_alert(visit: Visit, decider: Decider, viewed: ViewedAlert, around: Around) -> Draw:
    """Draw it into the present place; returns what draws it there anew, as it is later.

    Its buttons and its record stay where they are: one may have the focus, or be open.
    """
    head = ui.column().classes("body")
    if visit.principal.may_act:
        _act(visit, decider, viewed.alert)
    body = ui.column().classes("body")
    record = _record()

    def draw(viewed: ViewedAlert, around: Around) -> None:
        head.clear()
        with head:
            _head(visit, viewed)
        body.clear()
        with body:
            _body(visit, viewed, around)
        made = msgspec.to_builtins(viewed.alert)
        record.set_text(json.dumps(made, indent=2, ensure_ascii=False))

    draw(viewed, around)
    return draw


def _body(visit: Visit, viewed: ViewedAlert, around: Around) -> None:
    alert = viewed.alert
    if alert.kind == "object":
        _picture(visit, alert)
    _reasons(alert)
    _facts(visit, viewed)
    if alert.kind == "fraud":
        draw_card(visit, alert, around)
        draw_terminal(alert, around)
    _around(visit, viewed, around.alerts)
    _history(visit, viewed)


def _head(visit: Visit, viewed: ViewedAlert) -> None:
    alert = viewed.alert
    with ui.row().classes("head"):
        ui.label(alert.severity).classes(f"pill {alert.severity}")
        ui.label(DECISIONS[viewed.decision]).classes(f"pill {viewed.decision}")
        if viewed.is_open:
            ui.label("going on").classes("pill ongoing")
        if viewed.suppressed:
            ui.label("suppressed").classes("pill")
        ui.space()
        with ui.link(target=address_of(alert)).props('aria-label="Address to share"'):
            ui.icon("link", size="20px").tooltip("The address of this alert, to share")
    ui.label(headline(alert)).classes("headline").props('role="heading" aria-level="2"')
    ended = "" if viewed.is_open or alert.kind == "fraud" else f", for {_lasted(alert)}"
    now = round(time.time() * 1000)
    score = f"score {alert.score:.3f} (alerts from {alert.threshold:.3f})"
    if alert.kind == "fraud":
        ui.label(f"{value_of(alert)} · terminal {place_of(alert)} · {score}").classes("stake")
    what = "card" if alert.kind == "fraud" else "camera"
    when = f"{visit.clock.moment(viewed.opened)} ({ago(viewed.opened, now)}){ended}"
    ui.label(f"{what} {alert.entity} · {when}").classes("sub")


def _act(visit: Visit, decider: Decider, alert: Alert) -> None:
    def button(text: str, icon: str, key: str, then: Any, style: str = "outline") -> None:
        made = ui.button(text, icon=icon, on_click=then).props(
            f"{style} dense no-caps padding='3px 9px'"
        )
        made.tooltip(f"Key {key}")

    with ui.row().classes("actions"):
        # Of this alert, whatever is ticked in the list.
        button("Confirm", "check", "c", lambda: decider.confirm(alert.id), "unelevated")
        button("Dismiss", "close", "d", lambda: decider.dismiss(alert.id))
        button("Suppress", "notifications_off", "s", lambda: decider.suppress(alert))
        button("Note", "edit_note", "n", lambda: decider.note(alert))


def _picture(visit: Visit, alert: Alert) -> None:
    if alert.snapshot is None:
        return
    # The revision makes a better picture another address: it is fetched when it is there.
    source = f"/api/alerts/{quote(alert.id)}/picture?revision={alert.revision}"
    what = f"{alert.detail.get('class')} before camera {alert.entity}"
    with ui.element("div").classes("picture"):
        image = ui.element("img")
        image.props["src"], image.props["alt"] = source, what
        boxes = ui.html(scene_of(alert), sanitize=False).classes("boxes")  # numbers alone
        nothing = ui.column().classes("nothing")
        kept_h = visit.services.settings.vision.snapshot_ttl_h
        with nothing:
            empty("image_not_supported", "No picture", why_gone(alert, kept_h, time.time()))
        nothing.set_visibility(False)

    def say_gone() -> None:
        nothing.set_visibility(True)
        for one in (image, boxes):
            one.set_visibility(False)

    image.on("error", say_gone)


def why_gone(alert: Alert, kept_h: float, now_s: float) -> str:
    """Say why there is no picture: alerts are kept for longer than their pictures are."""
    if now_s - alert.processed_at / 1000 >= kept_h * 3600:
        return f"Pictures are kept for {kept_h:g} hours."
    return "It could not be loaded."


def scene_of(alert: Alert) -> str:
    """Draw the rule's zone or line and the way that the object took, in shares of the picture."""
    outline, way = (_drawn(alert.detail.get(name)) for name in ("outline", "path"))
    shapes = [
        f'<polygon class="place" points="{outline}"/>' if outline else "",
        f'<polyline class="path" points="{way}"/>' if way else "",
    ]
    if not any(shapes):
        return ""
    return (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">'
        f"{''.join(shapes)}</svg>"
    )


def _drawn(points: Scalar) -> str:
    """Points of an alert as SVG has them; nothing where there are fewer than two."""
    found = _POINT.findall(str(points))
    drawn = [f"{100 * float(x):.1f},{100 * float(y):.1f}" for x, y in found]
    return " ".join(drawn) if len(drawn) > 1 else ""


def box_of(alert: Alert, *, is_late: bool = False) -> str:
    """Draw the box of what an alert is about, in shares of the picture; nothing without one."""
    box = [alert.detail.get(name) for name in BOX_FIELDS]
    if not all(isinstance(at, int | float) for at in box):
        return ""
    x1, y1, x2, y2 = (100 * float(at or 0) for at in box)
    return (
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" width="100%" height="100%">'
        f'<rect class="box{" late" * is_late}" x="{x1:.2f}" y="{y1:.2f}" width="{x2 - x1:.2f}" '
        f'height="{y2 - y1:.2f}"/></svg>'
    )


def _reasons(alert: Alert) -> None:
    with ui.element("section").classes("part"):
        ui.label("Why").classes("title")
        if not alert.reasons:
            ui.label("The network gives no single reason.").classes("hint")
            return
        if alert.kind == "fraud":
            reasons_chart(alert.reasons)
        for reason in alert.reasons:
            with ui.element("div").classes("reason"):
                ui.label(reason.text[:1].upper() + reason.text[1:])
                if reason.evidence:
                    known = (
                        f"{name.replace('_', ' ')} {_short(value)}"
                        for name, value in reason.evidence.items()
                    )
                    ui.label(" · ".join(known)).classes("hint")


def _facts(visit: Visit, viewed: ViewedAlert) -> None:
    alert = viewed.alert
    facts = {
        "Score": f"{alert.score:.3f} (alerts from {alert.threshold:.3f})",
        "Amount" if alert.kind == "fraud" else "Seen": value_of(alert),
        "Terminal" if alert.kind == "fraud" else "Rule": place_of(alert),
        "Happened": visit.clock.moment(alert.event_time),
    }
    if alert.kind == "fraud":
        if (novelty := alert.detail.get("novelty")) is not None:
            facts["Novelty"] = novelty_told(float(novelty))
        facts["Transaction"] = str(alert.detail.get("tx_id"))
    else:
        facts["Began"] = visit.clock.moment(alert.started_at)
        facts["Ended"] = "goes on" if alert.ended_at is None else visit.clock.moment(alert.ended_at)
        for name in ("zone", "line"):
            if name in alert.detail:
                facts[name.title()] = str(alert.detail[name])
        facts["Track"] = str(alert.detail.get("track") or alert.detail.get("tracker_id") or "")
    facts["Model"] = f"{alert.model.name} {alert.model.version} ({alert.model.sha256[:8]})"
    if alert.rebuilding:
        facts["Note"] = "raised while state was being rebuilt"
    with ui.element("section").classes("part"):
        ui.label("Facts").classes("title")
        with ui.element("dl").classes("facts"):
            for name, value in facts.items():
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd"):
                    ui.label(value)


def novelty_told(novelty: float) -> str:
    """Put into words the share of the training's transactions that surprised less, in [0, 1]."""
    return f"More unusual for its card than {100 * novelty:.1f} % of transactions in training"


def _around(visit: Visit, viewed: ViewedAlert, around: list[ViewedAlert]) -> None:
    others = [one for one in around if one.alert.id != viewed.alert.id]
    with ui.element("section").classes("part"):
        what = "card" if viewed.alert.kind == "fraud" else "camera"
        ui.label(f"Other alerts on this {what}").classes("title")
        if not others:
            ui.label("None in the view.").classes("hint")
        for one in others:
            with ui.link(target=address_of(one.alert)).classes("neighbour"):
                ui.label(visit.clock.moment(one.opened)).classes("when")
                ui.label(headline(one.alert)).classes("what")
                ui.label(DECISIONS[one.decision]).classes(f"pill {one.decision}")


def _history(visit: Visit, viewed: ViewedAlert) -> None:
    verdict = viewed.verdict
    elsewhere = verdict is not None and not any(
        one.action == "verdict" and one.outcome == verdict.outcome for one in viewed.actions
    )
    if not viewed.actions and not elsewhere:
        return
    with ui.element("section").classes("part"):
        ui.label("What was done").classes("title")
        if verdict is not None and elsewhere:
            said = f"{OUTCOMES[verdict.outcome]}, by {verdict.by or verdict.source}"
            ui.label(said + (f": {verdict.note}" if verdict.note else "")).classes("done")
        for action in reversed(viewed.actions):
            with ui.element("div").classes("done"):
                ui.label(_told(action))
                ui.label(f"{action.by}, {visit.clock.moment(action.at)}").classes("hint")


def _told(action: Action) -> str:
    word = {
        "verdict": {True: "Confirmed", False: "Dismissed", None: "Taken back"}[action.outcome],
        "note": "Note",
        "suppress": f"Suppressed for {length((action.until or 0) - action.at)}",
    }.get(action.action, action.action)
    return f"{word}: {action.text}" if action.text else word


def _record() -> ui.label:
    raw = ui.expansion("Record, as on the topic").classes("raw")
    with raw, ui.element("pre").props('tabindex="0"'):
        return ui.label()


def _lasted(alert: Alert) -> str:
    return length((alert.ended_at or alert.updated_at) - alert.started_at)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

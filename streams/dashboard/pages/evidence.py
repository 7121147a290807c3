"""What lies around a fraud alert: the card's payments, the terminal's verdicts, other alerts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nicegui import ui

from streams.dashboard.cards import Card
from streams.dashboard.pages.charts import ACCENT, ALARM, CALM, INK, THIS, WARM, timeline_chart
from streams.dashboard.pages.frame import Visit
from streams.dashboard.payments import Payment, Payments, near
from streams.dashboard.services import Services
from streams.dashboard.terminals import Terminal
from streams.dashboard.view.query import Filters, page_of
from streams.dashboard.view.records import ViewedAlert
from streams.errors import TocsinError
from streams.schemas import Alert

_NEIGHBOURS: Final = 12
_LISTED: Final = 12
_AFTER_S: Final = 0.3
"""Kafka is read for an alert at which somebody stays, not for each that is passed by."""


@dataclass(frozen=True, slots=True)
class Around:
    """What is known around an alert: others on its card or camera, and the agents' memories."""

    alerts: list[ViewedAlert]
    card: Card | None = None
    terminal: Terminal | None = None


async def around_of(services: Services, viewed: ViewedAlert) -> Around:
    """Look it up.

    Raises:
        StoreError: Redis does not serve.
    """
    alert = viewed.alert
    filters = Filters(kind=alert.kind, entity=alert.entity, suppressed=True)
    page = await page_of(services.store, filters, limit=_NEIGHBOURS)
    if alert.kind == "object":
        return Around(page.alerts)
    return Around(
        page.alerts,
        await services.cards.find(alert.entity),
        await services.terminals.find(str(alert.detail.get("terminal_id") or "")),
    )


async def look_up(services: Services, alert_id: str) -> tuple[ViewedAlert, Around] | None:
    """Read an alert and what is around it; None where it is not in the view.

    Raises:
        StoreError: Redis does not serve, which says nothing of whether it is there.
    """
    (viewed,) = await services.store.get([alert_id])
    return None if viewed is None else (viewed, await around_of(services, viewed))


def draw_card(visit: Visit, alert: Alert, around: Around) -> None:
    """Draw what the card did, as far as it is kept: the topic's end, and the agent's memory."""
    with ui.element("section").classes("part"):
        ui.label(f"The card's payments{_in_currency(alert)}").classes("title")
        if around.card is None:
            ui.label("The fraud agent's memory knows nothing of this card.").classes("hint")
        else:
            ui.label(
                f"{around.card.transactions:,} transactions so far, usually "
                f"{around.card.usual_amount:,.2f}."
            ).classes("hint")
        chart = ui.column().classes("body")
        place = ui.column().classes("body awaited")  # as high as the table that comes
    with chart:
        _timeline(alert, around, ())
    with place:
        state = ui.label("Reading the topic…").classes("hint").props('role="status"')

    async def fetch() -> None:
        try:
            found = await visit.services.payments.around(alert.entity, alert.source)
        except TocsinError as error:
            if not state.is_deleted:
                state.set_text(f"The card's payments could not be read: {error}")
            return
        if place.is_deleted:
            return
        chart.clear()
        with chart:
            _timeline(alert, around, found.found)
        place.clear()
        place.classes(remove="awaited")
        with place:
            has_scores = visit.services.settings.fraud.publish_scores
            _listed(visit, alert, found, has_scores=has_scores)

    ui.timer(_AFTER_S, fetch, once=True)


def _timeline(alert: Alert, around: Around, payments: Sequence[Payment]) -> None:
    """Draw amounts over time; what the agent remembers as times the usual amount, as amounts."""
    usual = 0.0 if around.card is None else around.card.usual_amount
    others = [
        (one.alert.event_time, _amount(one.alert))
        for one in around.alerts
        if one.alert.id != alert.id
    ]
    shown = {at for at, _ in others} | {alert.event_time}
    plain = [(one.event_time, one.amount) for one in payments if one.event_time not in shown]
    read = {one.event_time for one in payments} | shown
    large = () if around.card is None else around.card.large
    remembered = [(at, times * usual) for at, times in large if at not in read]
    scores = [(one.event_time, one.score) for one in payments if one.score is not None]
    timeline_chart(
        {
            "payment": (ACCENT, 8, plain),
            "large": (INK, 8, remembered),
            "alert": (WARM, 11, others),
            "this one": (THIS, 16, [(alert.event_time, _amount(alert))]),
        },
        f"Amounts over time: {len(plain)} payments, {len(remembered)} large ones from memory, "
        f"{len(others)} others with an alert, and this one, with {len(scores)} scores",
        scores,
    )


def _listed(visit: Visit, alert: Alert, found: Payments, *, has_scores: bool) -> None:
    """List the payments around this one, and say in words what is not to be seen."""
    if not found.looked:
        ui.label("The topic that they were on holds nothing of them any more.").classes("hint")
        return
    with ui.element("table").classes("payments"):
        _row("th", ("When", "Amount", "Terminal", "Score"))
        for one in reversed(near(found.found, alert.source.offset, _LISTED)):
            is_this = one.offset == alert.source.offset
            score = alert.score if is_this else one.score
            cells = (
                visit.clock.moment(one.event_time),
                f"{one.amount:,.2f} {one.currency}",
                one.terminal_id,
                f"{score:.3f}"
                if score is not None
                else "-"
                if found.has_all_scores
                else "not read",
            )
            _row("td", cells, "this" if is_this else "")
    reach = (
        "which is as far back as the topic goes"
        if found.is_all_before
        else "older ones lie further back in the topic and are not read"
    )
    ui.label(
        f"Read from {found.looked:,} records of partition {alert.source.partition} around this "
        f"one, {reach}. Of what is older the agent remembers large payments alone."
    ).classes("hint")
    if has_scores and not found.has_all_scores:
        ui.label(
            "Scores could not be read: they lie too far in their topic, or it has not as many "
            "partitions as that of the transactions."
        ).classes("hint")
    if not has_scores:
        ui.label(
            "Scores of payments without an alert are not kept: fraud.publish_scores keeps them."
        ).classes("hint")


def draw_terminal(alert: Alert, around: Around) -> None:
    """Draw the verdicts on payments at the terminal, as the labels agent remembers them."""
    terminal, name = around.terminal, str(alert.detail.get("terminal_id") or "")
    with ui.element("section").classes("part"):
        ui.label(f"Payments with a verdict at {name}{_in_currency(alert)}").classes("title")
        if terminal is None:
            ui.label("No verdict on a payment there has come yet.").classes("hint")
            return
        frauds = [(one.event_time, one.amount) for one in terminal.verdicts if one.is_fraud]
        genuine = [(one.event_time, one.amount) for one in terminal.verdicts if not one.is_fraud]
        said = (
            f"The newest {len(terminal.verdicts)} verdicts on payments there: {len(frauds)} frauds "
            f"and {len(genuine)} genuine ones."
        )
        if terminal.older:
            said += (
                f" Of {terminal.older:,} older ones ({terminal.older_frauds:,} frauds) only the "
                "numbers are kept."
            )
        ui.label(said).classes("hint")
        timeline_chart(
            {
                "genuine": (CALM, 8, genuine),
                "fraud": (ALARM, 11, frauds),
                "this one": (THIS, 16, [(alert.event_time, _amount(alert))]),
            },
            said,
        )


def _in_currency(alert: Alert) -> str:
    currency = alert.detail.get("currency")
    return f", {currency}" if currency else ""


def _amount(alert: Alert) -> float:
    return float(alert.detail.get("amount") or 0)


def _row(tag: str, cells: Sequence[str], style: str = "") -> None:
    with ui.element("tr").classes(style):
        for cell in cells:
            with ui.element(tag):
                ui.label(cell)

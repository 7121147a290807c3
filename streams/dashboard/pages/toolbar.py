"""The filters above the list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from streams.dashboard.pages.choice import (
    DECISIONS,
    KINDS,
    LONGEST_ENTITY,
    SEVERITIES,
    SPANS,
    Choice,
)


def draw_filters(choice: Choice, changed: Callable[[Choice], Awaitable[None]]) -> None:
    """Draw the filters as they are chosen; `changed` is told of each other choice."""
    kind = ui.toggle(KINDS, value=choice.kind).props('no-caps unelevated dense aria-label="Kind"')
    decision = ui.select(DECISIONS, value=choice.decision).props(
        'outlined dense options-dense aria-label="Decision"'
    )
    severity = ui.select(SEVERITIES, value=choice.severity).props(
        'outlined dense options-dense aria-label="Severity"'
    )
    span = ui.select(SPANS, value=choice.minutes).props(
        'outlined dense options-dense aria-label="Time"'
    )
    entity = ui.input(placeholder="Card or camera", value=choice.entity).props(
        f"outlined dense clearable debounce=400 maxlength={LONGEST_ENTITY} "
        'aria-label="Card or camera"'
    )
    going_on = ui.checkbox("Going on", value=choice.going_on).props("dense")
    suppressed = ui.checkbox("Suppressed", value=choice.suppressed).props("dense")

    async def tell() -> None:
        await changed(
            Choice(
                kind=kind.value or "",
                decision=decision.value or "",
                severity=severity.value or "",
                minutes=span.value or 0,
                entity=(entity.value or "").strip(),
                going_on=going_on.value,
                suppressed=suppressed.value,
            )
        )

    for one in (kind, decision, severity, span, entity, going_on, suppressed):
        one.on_value_change(tell)

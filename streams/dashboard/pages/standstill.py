"""A strip above the list while no alert can come, so that a list at rest is not taken for calm."""

from __future__ import annotations

from typing import Final

from nicegui import ui

from streams.dashboard.pages.frame import Visit

_EVERY_S: Final = 1.0


def draw_standstill(visit: Visit) -> None:
    """Draw the strip; it is there while the view waits for something."""
    strip = ui.label("").classes("standstill").props('role="alert"')

    def look() -> None:
        view = visit.services.consumer
        since = visit.clock.time(view.waiting_since)
        strip.set_text(
            ""
            if view.waiting_for is None
            else f"Alerts stand still since {since}: {view.waiting_for}"
        )

    look()
    ui.timer(_EVERY_S, look)

"""A line above the list while suppressions hide alerts, so that what is hidden is not forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from nicegui import ui

from streams.dashboard.pages.frame import Visit
from streams.dashboard.view.records import Suppression
from streams.errors import StoreError

_EVERY_S: Final = 3.0


def draw_hidden(visit: Visit) -> None:
    """Draw the line, which leads to where they are lifted; it is there while one is active."""
    line = ui.link("", "/health").classes("hiding")
    line.set_visibility(False)

    async def look() -> None:
        try:
            found = await visit.services.store.suppressions()
        except StoreError:
            return  # nobody can tell now: it stays as it is
        told = hidden_told(active_of(found, round(time.time() * 1000)))
        line.set_text(told)
        line.set_visibility(bool(told))

    ui.timer(_EVERY_S, look)


def active_of(suppressions: Iterable[Suppression], now: int) -> list[Suppression]:
    """Leave out those that have ended by `now` (ms)."""
    return [one for one in suppressions if one.is_active(now)]


def hidden_told(active: list[Suppression]) -> str:
    """Say how many hide alerts; nothing where none does."""
    if not active:
        return ""
    return f"{len(active):,} suppression{'s hide' if len(active) > 1 else ' hides'} alerts"


def cameras_hidden(active: Iterable[Suppression]) -> set[str]:
    """Name the cameras of which alerts are hidden."""
    return {one.entity for one in active if one.kind == "object"}

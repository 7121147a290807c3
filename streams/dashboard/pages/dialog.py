"""Dialogs of one look: a title, what they ask, and two buttons."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from nicegui import ui


def dialog(title: str) -> AbstractContextManager[Any]:
    """Open a dialog; the block draws what is in it, and gets it to close it.

    It stands beside what the page shows, which may be drawn anew while somebody writes.
    """
    with ui.context.client:
        opened = ui.dialog()
    opened.props["aria-label"] = title
    with opened, ui.card().classes("dialog"):
        ui.label(title).classes("title")
        body = ui.column().classes("body")
    opened.open()
    return _Within(opened, body)


class _Within:
    """A block in the body of a dialog."""

    def __init__(self, dialog: Any, body: Any) -> None:
        self._dialog, self._body = dialog, body

    def __enter__(self) -> Any:
        self._body.__enter__()
        return self._dialog

    def __exit__(self, *error: object) -> None:
        self._body.__exit__(*error)


def buttons(opened: Any, word: str, send: Callable[[], Any]) -> None:
    """Draw the way out of a dialog, and the button `word` that calls `send`."""
    with ui.row().classes("buttons"):
        ui.button("Cancel", on_click=opened.close).props("flat no-caps")
        ui.button(word, on_click=send).props("unelevated no-caps")

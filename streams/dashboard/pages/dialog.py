"""Dialogs of one look: a title, what they ask, and two buttons."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Self

from nicegui import ui


class Dialog(ui.dialog):
    """Is gone for good once it is closed: a shift of hundreds would leave each on the page."""

    def __init__(self) -> None:
        # It leaves an element where it is made, which goes with it.
        with ui.context.client, ui.element("div") as self._place:
            super().__init__()
        self._place.set_visibility(False)
        self._is_hidden = self._is_answering = False
        self.on("hide", self._hide, args=[])

    def open(self) -> Self:
        """Show it."""
        self._is_hidden = False
        return super().open()

    async def answer(self, sending: Awaitable[bool]) -> None:
        """Close while the answer is sent; open again, with the words in it, where it was not."""
        self._is_answering = True
        self.close()
        try:
            is_sent = await sending
        finally:
            self._is_answering = False
        if is_sent:
            self._let_go()
        else:
            self.open()

    def _hide(self) -> None:
        self._is_hidden = True
        self._let_go()

    def _let_go(self) -> None:
        if self._is_hidden and not (self.value or self._is_answering or self.is_deleted):
            self.delete()
            self._place.delete()


def dialog(title: str) -> AbstractContextManager[Dialog]:
    """Open a dialog; the block draws what is in it, and gets it to close it.

    It stands beside what the page shows, which may be drawn anew while somebody writes.
    """
    opened = Dialog()
    opened.props["aria-label"] = title
    with opened, ui.card().classes("dialog"):
        ui.label(title).classes("title")
        body = ui.column().classes("body")
    opened.open()
    return _Within(opened, body)


class _Within:
    """A block in the body of a dialog."""

    def __init__(self, dialog: Dialog, body: Any) -> None:
        self._dialog, self._body = dialog, body

    def __enter__(self) -> Dialog:
        self._body.__enter__()
        return self._dialog

    def __exit__(self, *error: object) -> None:
        self._body.__exit__(*error)


def buttons(opened: Dialog, word: str, send: Callable[[], Any]) -> None:
    """Draw the way out of a dialog, and the button `word` that calls `send`."""
    with ui.row().classes("buttons"):
        ui.button("Cancel", on_click=opened.close).props("flat no-caps")
        ui.button(word, on_click=send).props("unelevated no-caps")

"""Keys as commands of a page, wherever its focus is but in a field into which one types."""

from __future__ import annotations

from typing import Final

from nicegui import ui
from nicegui.elements.keyboard import Keyboard

KEYS: Final = {
    "j, k": "choose the next alert, the one before (in the list)",
    "Space": "tick the row that has the focus, or take the tick away (in the list)",
    "c": "confirm all that are ticked or chosen",
    "d": "dismiss them: 1 to 5 say why, Enter sends",
    "s": "suppress the card or camera",
    "n": "write a note: Ctrl+Enter keeps it",
    "u": "take back what was done last",
    "p": "pause the list, or let it go on",
    "?": "show these keys",
}


class Keys(Keyboard, component="assets/keys.js"):
    """NiceGUI's keyboard tells fields apart by their tag alone, and a tick box is an input too."""


def draw_keys() -> None:
    """List the keys, and what each does."""
    with ui.element("dl").classes("facts"):
        for key, does in KEYS.items():
            with ui.element("dt"), ui.element("kbd"):
                ui.label(key)
            with ui.element("dd"):
                ui.label(does)

"""The bar at the foot of the list while several are chosen: for the mouse and for a thumb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nicegui import ui

from streams.dashboard.pages.decide import Decider

_FEWEST: Final = 2
"""One alone has its buttons beside the list, or on its own page."""


class Several:
    """Says how many are chosen, and decides them together; it stands in place of `line`.

    Who may not act has no buttons to decide.
    """

    def __init__(
        self,
        decider: Decider,
        clear: Callable[[], object],
        line: ui.element,
        *,
        may_act: bool,
    ) -> None:
        self._line = line
        with ui.row().classes("several") as self._bar:
            self._count = ui.label().props('role="status"')
            deciding = (("Confirm", decider.confirm), ("Dismiss", decider.dismiss))
            for word, then in (*(deciding if may_act else ()), ("Clear", clear)):
                ui.button(word, on_click=then).props("flat dense no-caps size=13px")
        self._bar.set_visibility(False)

    def show(self, count: int) -> None:
        """Tell how many are chosen."""
        self._count.set_text(f"{count:,} chosen")
        self._bar.set_visibility(count >= _FEWEST)
        self._line.set_visibility(count < _FEWEST)

"""The place of one alert: what was found, why it cannot be read now, or that it is gone."""

from __future__ import annotations

import math
import time
from typing import Any, Final

from nicegui import ui

from streams.dashboard.pages.decide import Decider
from streams.dashboard.pages.detail import Draw, draw_alert
from streams.dashboard.pages.evidence import look_up
from streams.dashboard.pages.frame import Visit, empty, unread
from streams.errors import TocsinError

_AGAIN_S: Final = 2.0
"""From an alert that could not be read to the next attempt."""


class Sheet:
    """Shows one alert at a time.

    Attributes:
        shown: its id, also where there is no place to draw it: on a phone it has a page of its own.
    """

    def __init__(self, visit: Visit, decider: Decider, gone: tuple[str, str]) -> None:
        """Show none yet; `gone` says, with a reason, that an alert is not in the view."""
        self._visit, self._decider, self._gone = visit, decider, gone
        self._place: Any = None
        self._drawn: tuple[str, Draw] | None = None  # which is there, and what draws it anew
        self._again_at = math.inf  # by the monotonic clock
        self.shown: str | None = None

    def build(self, style: str = "") -> None:
        """Make the place."""
        self._place = ui.column().classes(f"sheet {style}")

    async def show(self, name: str) -> None:
        """Draw an alert as it is now."""
        self.shown, self._again_at = name, math.inf
        if self._place is None:
            return
        found, failed = None, None
        try:
            found = await look_up(self._visit.services, name)
        except TocsinError as error:
            failed = error
        if self.shown != name:
            return  # another one was chosen meanwhile
        if found is not None and self._drawn is not None and self._drawn[0] == name:
            self._drawn[1](*found)
            return
        self._clear()
        with self._place:
            if failed is not None:
                unread(failed)
                self._again_at = time.monotonic() + _AGAIN_S
            elif found is None:
                empty("history", *self._gone)
            else:
                self._drawn = name, draw_alert(self._visit, self._decider, *found)

    async def try_again(self) -> None:
        """Draw anew what could not be read, once it is time to."""
        if self.shown is not None and time.monotonic() >= self._again_at:
            await self.show(self.shown)

    def show_none(self) -> None:
        """Say that none is chosen."""
        self.shown, self._again_at = None, math.inf
        if self._place is not None:
            self._clear()
            with self._place:
                empty("ads_click", "No alert chosen", "Click one, or press j.")

    def _clear(self) -> None:
        self._drawn = None
        self._place.clear()

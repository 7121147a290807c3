"""The page of one alert, which has an address to share: as it is now, and with the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nicegui import events, ui

from streams.dashboard.pages.decide import Decider
from streams.dashboard.pages.detail import draw_alert
from streams.dashboard.pages.evidence import look_up
from streams.dashboard.pages.frame import Visit, empty, unread
from streams.dashboard.pages.keys import Keys
from streams.dashboard.view.changes import Subscription
from streams.errors import TocsinError

_TICK_S: Final = 0.5


class AlertPage:
    """One alert on one open page."""

    def __init__(self, visit: Visit, subscription: Subscription, alert_id: str) -> None:
        self._visit, self._subscription, self._alert_id = visit, subscription, alert_id
        self._decider = Decider(visit, self._chosen, self._draw)
        self._is_unread = False

    async def build(self) -> None:
        """Draw it, then anew whenever it changes."""
        self._place = ui.column().classes("sheet alone")
        await self._draw()
        Keys(self._key)
        ui.timer(_TICK_S, self._tick)

    async def _chosen(self) -> list[str]:
        return [self._alert_id]

    async def _key(self, event: events.KeyEventArguments) -> None:
        await self._decider.press(event, self._alert_id)

    async def _tick(self) -> None:
        if self._decider.is_sending:
            return
        changed = {change.viewed.alert.id for change in self._subscription.take()}
        if self._is_unread or self._subscription.lost or self._alert_id in changed:
            self._subscription.lost = False
            await self._draw()

    async def _draw(self, _: Sequence[str] = ()) -> None:
        found, failed = None, None
        try:
            found = await look_up(self._visit.services, self._alert_id)
        except TocsinError as error:
            failed = error
        self._is_unread = failed is not None
        self._place.clear()
        with self._place:
            if failed is not None:
                unread(failed)
            elif found is None:
                empty("history", "Not in the view", "It is too old, or never was there.")
            else:
                draw_alert(self._visit, self._decider, *found)

"""The page of one alert, which has an address to share: as it is now, and with the same keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nicegui import events, ui

from streams.dashboard.pages.decide import Decider
from streams.dashboard.pages.frame import Visit
from streams.dashboard.pages.keys import Keys
from streams.dashboard.pages.sheet import Sheet
from streams.dashboard.view.changes import Subscription

_TICK_S: Final = 0.5


class AlertPage:
    """One alert on one open page."""

    def __init__(self, visit: Visit, subscription: Subscription, alert_id: str) -> None:
        self._visit, self._subscription, self._alert_id = visit, subscription, alert_id
        self._decider = Decider(visit, self._chosen, self._draw)
        gone = ("Not in the view", "It is too old, or never was there.")
        self._sheet = Sheet(visit, self._decider, gone)

    async def build(self) -> None:
        """Draw it, then anew whenever it changes."""
        self._sheet.build("alone")
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
        if self._subscription.lost or self._alert_id in changed:
            self._subscription.lost = False
            await self._draw()
        else:
            await self._sheet.try_again()

    async def _draw(self, _: Sequence[str] = ()) -> None:
        await self._sheet.show(self._alert_id)

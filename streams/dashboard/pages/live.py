"""The list: alerts as they come, filters, and decisions by keyboard."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from nicegui import background_tasks, events, ui

from streams.dashboard.access.target import login_address
from streams.dashboard.pages.choice import Choice
from streams.dashboard.pages.decide import Decider
from streams.dashboard.pages.frame import ANSWER_S, Visit, empty
from streams.dashboard.pages.grid import AFTER, AGAIN, SELECTED, STEP, grid_for
from streams.dashboard.pages.hidden import draw_hidden
from streams.dashboard.pages.keys import Keys
from streams.dashboard.pages.rows import Rows, Steps
from streams.dashboard.pages.several import Several
from streams.dashboard.pages.sheet import Sheet
from streams.dashboard.pages.sound import Sound
from streams.dashboard.pages.standstill import draw_standstill
from streams.dashboard.pages.toolbar import draw_filters
from streams.dashboard.view.changes import PENDING, Subscription
from streams.dashboard.view.query import Filters, page_of
from streams.dashboard.view.records import ViewedAlert
from streams.errors import StoreError

_FIRST: Final = 200
_PAGE: Final = 500
_AGAIN_S: Final = 2.0
"""From a first page that could not be read to the next attempt."""

_TICK_S: Final = 0.25
"""News are drawn this often at most, together."""

_TICKS_A_SECOND: Final = 50
"""Of all open lists together: of more than a dozen, each is drawn less often."""

_SLIDE_S: Final = 5.0
"""How often what is too old for the span of time is looked for: it is a look at every row."""


class LiveList:
    """One list on one open page."""

    def __init__(self, visit: Visit, subscription: Subscription, choice: Choice) -> None:
        self._visit, self._subscription = visit, subscription
        self._choice = choice
        self._slid_at = 0.0
        self._rows = Rows()
        self._is_loading = asyncio.Lock()
        self._load_at = math.inf  # when to try again, by the monotonic clock
        self._decider = Decider(visit, self._chosen, self._next)
        gone = ("No longer in the view", "It is too old, or one of too many.")
        self._sheet = Sheet(visit, self._decider, gone)
        self._decided: Sequence[str] = ()  # last, and by this page
        self._paused = False

    # -- drawing ------------------------------------------------------------------------------
    def build(self) -> None:
        """Draw toolbar, list and the place for one alert."""
        with ui.element("div").classes("desk"):
            with ui.element("section").classes("list").props('aria-label="Alerts"'):
                self._toolbar()
                draw_standstill(self._visit)
                draw_hidden(self._visit)
                self._grid = ui.aggrid(
                    grid_for(is_narrow=self._visit.is_narrow), auto_size_columns=False
                ).classes("grid")
                self._grid.on("cellClicked", self._clicked, ["rowId", "colId"])
                self._grid.on("bodyScrollEnd", self._scrolled)
                self._empty = ui.column().classes("nothing")
                self._draw_empty()
                self._empty.set_visibility(False)
                self._status = ui.label("Loading alerts").classes("status").props('role="status"')
                may_act = self._visit.principal.may_act
                several = Several(self._decider, self._clear, self._status, may_act=may_act)
                self._grid.on(
                    "selectionChanged",
                    lambda event: several.show(int(event.args)),
                    js_handler=SELECTED % {"grid": self._grid.id},
                )
            if not self._visit.is_narrow:
                with ui.element("aside").classes("detail").props('aria-label="Alert" tabindex="0"'):
                    self._sheet.build()
                    self._sheet.show_none()
        Keys(self._key)
        self._timer = ui.timer(_TICK_S, self._tick)

    def _toolbar(self) -> None:
        with ui.row().classes("toolbar"):
            self._filters = ui.element("div").classes("filters")
            with self._filters:
                draw_filters(self._choice, self._choose)
            ui.space()
            self._sound = Sound(is_on=self._visit.is_loud)
            self._pause = ui.button("Pause", icon="pause", on_click=self._flip).props(
                "flat dense no-caps size=13px"
            )

    async def _choose(self, choice: Choice) -> None:
        """Show what is chosen, and say so in the address, for a reload and for whom it is shown."""
        self._choice, address = choice, choice.address()
        ui.run_javascript(f"history.replaceState(history.state, '', {json.dumps(address)})")
        self._visit.login = login_address(address.partition("#")[0])
        self._draw_empty()
        await self.load()

    async def _clear_filters(self) -> None:
        self._filters.clear()
        with self._filters:
            draw_filters(Choice(), self._choose)
        await self._choose(Choice())

    def _draw_empty(self) -> None:
        """Say why a list is empty: there is nothing to do, or the filters leave nothing."""
        self._empty.clear()
        with self._empty:
            if self._choice == Choice():
                empty("task_alt", "Nothing to decide", "Alerts appear here as they come.")
            else:
                empty("filter_alt_off", "No alert fits these filters", "Others may be there.")
                ui.button("Clear filters", on_click=self._clear_filters).props("outline no-caps")

    # -- rows ---------------------------------------------------------------------------------
    async def load(self) -> None:
        """Begin anew with the first page; older ones follow as one scrolls.

        A page that cannot be read is tried again until it is there: what comes meanwhile alone
        would look like all there is.
        """
        async with self._is_loading:
            self._load_at = math.inf
            self._rows.clear()
            self._subscription.take()
            self._subscription.lost = False
            self._grid.run_grid_method("flushAsyncTransactions")  # none may come after
            self._grid.run_grid_method("setGridOption", "rowData", [])
            if await self._load_page(_FIRST):
                self._choose_again()
            else:
                self._load_at = time.monotonic() + _AGAIN_S

    async def _load_page(self, limit: int) -> bool:
        """Take the next page in, if it can be read; False where it cannot.

        A page of none, for it cost too much, is not the end.
        """
        store = self._visit.services.store
        while True:
            cursor = self._rows.cursor
            try:
                page = await page_of(store, self._wanted(), limit=limit, cursor=cursor)
            except StoreError as error:
                self._status.set_text(f"The list cannot be loaded now, and is tried again: {error}")
                self._empty.set_visibility(False)
                return False
            if self._rows.cursor != cursor:
                continue  # alerts had to make room meanwhile, and come first
            steps = self._rows.older(page)
            if page.alerts or page.cursor is None:
                break
        self._apply(steps)
        return True

    async def _scrolled(self) -> None:
        if self._rows.cursor is None or self._rows.is_full or self._is_loading.locked():
            return
        async with self._is_loading:
            last = await ui.run_javascript(
                f"return getElement({self._grid.id}).api.getLastDisplayedRowIndex()",
                timeout=ANSWER_S,
            )
            if int(last) > len(self._rows) - _FIRST:
                await self._load_page(_PAGE)

    async def _tick(self) -> None:
        self._timer.interval = max(_TICK_S, self._visit.services.changes.watching / _TICKS_A_SECOND)
        if self._is_loading.locked():
            return
        if self._load_at != math.inf:
            if time.monotonic() >= self._load_at and not self._decider.on_its_way:
                await self.load()
            return
        await self._sheet.try_again()
        if self._paused:
            self._pause.set_text(f"Go on ({self._waiting()})")
        else:
            await self._take_news(self._decider.on_its_way)

    def _waiting(self) -> str:
        """Say how many alerts of a list that is paused wait to be drawn."""
        if self._subscription.lost:
            return f"{PENDING:,}+"
        wanted, changed = self._wanted(), self._subscription.pending
        return f"{sum(self._is_news(change.viewed, wanted) for change in changed):,}"

    def _is_news(self, viewed: ViewedAlert, wanted: Filters) -> bool:
        return viewed.alert.id in self._rows or wanted.includes(viewed)

    async def _take_news(self, but: Sequence[str] = ()) -> None:
        """Draw what came since the last time, all at once.

        All `but` rows of which the next one is still to be found: they stay where they are.
        """
        if self._load_at != math.inf:
            return  # the list itself comes first
        if self._subscription.lost:
            if not but:
                await self.load()
            return
        if not but:
            self._let_slide()
        await self._take_in([change.viewed for change in self._subscription.take(but)])

    async def _take_in(self, changed: Sequence[ViewedAlert]) -> None:
        steps = self._rows.news(changed, self._wanted())
        if steps["add"]:
            self._sound.ring()
        if any(steps.values()):
            self._apply(steps)
        if (shown := self._sheet.shown) in {viewed.alert.id for viewed in changed}:
            await self._sheet.show(shown)

    def _wanted(self) -> Filters:
        return self._choice.filters(round(time.time() * 1000))

    def _let_slide(self) -> None:
        """Take out what has become too old for the span."""
        filters = self._wanted()
        if filters.since is None or time.monotonic() - self._slid_at < _SLIDE_S:
            return
        self._slid_at = time.monotonic()
        steps = self._rows.past(filters.since)
        if steps["remove"]:
            self._apply(steps)

    def _apply(self, steps: Steps) -> None:
        self._grid.run_grid_method("applyTransactionAsync", steps)
        self._empty.set_visibility(not self._rows)
        more = "" if self._rows.cursor is None else "+"
        one = len(self._rows) == 1 and not more
        self._status.set_text(f"{len(self._rows):,}{more} {'alert' if one else 'alerts'}")

    # -- choosing and deciding ----------------------------------------------------------------
    async def _clicked(self, event: events.GenericEventArguments) -> None:
        name = event.args["rowId"]
        if event.args.get("colId") == "ag-Grid-SelectionColumn":
            return
        if self._visit.is_narrow:
            ui.navigate.to(f"/alerts/{quote(name)}")
            return
        ui.run_javascript(
            f"const api = getElement({self._grid.id}).api; api.deselectAll();"
            f"api.getRowNode({json.dumps(name)})?.setSelected(true)"
        )
        await self._sheet.show(name)

    async def _chosen(self) -> Sequence[str]:
        found = await ui.run_javascript(
            f"return getElement({self._grid.id}).api.getSelectedNodes().map(node => node.id)",
            timeout=ANSWER_S,
        )
        return [str(name) for name in found]

    def _choose_again(self) -> None:
        """Choose what is shown, in the rows that are there now; where it is in none, show none.

        Keys are about what is chosen, and a row takes that along when it goes.
        """
        shown = self._sheet.shown
        if shown is None:
            return
        if shown in self._rows:
            ui.run_javascript(AGAIN % {"grid": self._grid.id, "name": json.dumps(shown)})
        else:
            self._sheet.show_none()

    def _clear(self) -> None:
        self._grid.run_grid_method("deselectAll")

    async def _step(self, step: int) -> None:
        name = await ui.run_javascript(
            STEP % {"grid": self._grid.id, "step": step}, timeout=ANSWER_S
        )
        if name is not None and name != self._sheet.shown:
            await self._sheet.show(str(name))

    async def _next(self, decided: Sequence[str]) -> None:
        """After a decision: the next one is chosen, then what was decided leaves.

        A list that is paused holds back what others do, not what is done on it.
        """
        if decided:
            self._decided = decided
            script = AFTER % {"grid": self._grid.id, "ids": json.dumps(list(decided))}
            name = await ui.run_javascript(script, timeout=ANSWER_S)
            if name is not None and name != self._sheet.shown:
                self._sheet.shown = str(name)  # which keys are about from now on
                background_tasks.create(self._sheet.show(str(name)), name="draw the next alert")
        if not self._paused:
            await self._take_news()
        elif self._decided and self._load_at == math.inf:
            getting = self._visit.services.store.get(list(self._decided))
            found = await self._visit.trying(getting) or []
            await self._take_in([viewed for viewed in found if viewed is not None])

    async def _key(self, event: events.KeyEventArguments) -> None:
        held = event.modifiers.ctrl or event.modifiers.meta or event.modifiers.alt
        key = str(event.key)
        if key not in {"j", "k", "p"}:
            await self._decider.press(event, self._sheet.shown)
        elif not event.action.keydown or held or self._decider.is_asking:
            return
        elif key != "p":
            await self._step(1 if key == "j" else -1)
        elif not event.action.repeat:
            self._flip()

    def _flip(self) -> None:
        self._paused = not self._paused
        self._pause.set_text("Go on" if self._paused else "Pause")
        self._pause.set_icon("play_arrow" if self._paused else "pause")

"""What all pages share: the bar above, who looks, their zone and colours, and short messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import Request
from nicegui import ui

from streams.dashboard.access.guard import LOOK_S
from streams.dashboard.access.sessions import Session
from streams.dashboard.access.target import LOGIN, login_address, wanted_of
from streams.dashboard.access.users import Principal
from streams.dashboard.api.session import leave
from streams.dashboard.pages.login import own_address
from streams.dashboard.pages.words import Clock
from streams.dashboard.services import Services
from streams.errors import TocsinError

_PLACES: Final = (("Alerts", "/"), ("Cameras", "/cameras"), ("Health", "/health"))

ANSWER_S: Final = 10.0
"""For a browser: one on a busy machine takes more than a second."""

_ASK_BROWSER: Final = """
return {zone: Intl.DateTimeFormat().resolvedOptions().timeZone,
        dark: localStorage.getItem('tocsin-dark'), width: window.innerWidth,
        sound: sessionStorage.getItem('tocsin-sound'), fragment: location.hash.slice(1)}
"""


@dataclass(slots=True)
class Visit:
    """One open page: who looks, and how."""

    services: Services
    principal: Principal
    cookie: str | None
    login: str = LOGIN
    """Where who is logged out goes, to come back here."""

    fragment: str = ""
    """What stands after the # in the address: no server is told, but by the page itself."""

    clock: Clock = field(default_factory=Clock)
    is_narrow: bool = False
    is_loud: bool = False
    """Whether one asked for sound in this tab, before it was loaded anew."""

    _toast: Any = None

    async def acting(self) -> Principal | None:
        """Return who acts, if they still may; says so where they may not."""
        principal: Principal | None = self.principal
        if self.cookie is not None:
            try:
                found = await self.services.sessions.find(self.cookie)
            except TocsinError as error:
                self.say(f"Nothing was done: {error}")
                return None
            principal = None if found is None else found[0]
        if principal is None:
            ui.navigate.to(self.login)
            return None
        if not principal.may_act:
            self.say("A viewer looks on; deciding takes the role analyst")
            return None
        return principal

    def say(self, text: str, undo: Callable[[], Awaitable[None]] | None = None) -> None:
        """Show a short message, with a way back if there is one."""
        self._toast.clear()
        with self._toast, ui.row().classes("toast").props('role="status"'):
            ui.label(text)
            if undo is not None:
                ui.button("Undo (u)", on_click=undo).props("flat dense no-caps")
            mine = ui.context.slot.parent

            def fade() -> None:
                if not mine.is_deleted:
                    mine.delete()

            ui.timer(8.0, fade, once=True)

    async def doing(self, work: Callable[[Principal], Awaitable[Any]]) -> Any:
        """Await `work` by who acts; where they may not, or it fails, that is said, and None comes.

        What is done gives something else.
        """
        who = await self.acting()
        return None if who is None else await self.trying(work(who))

    async def trying(self, work: Awaitable[Any]) -> Any:
        """Await `work`; an error of ours becomes a message, and None comes back."""
        try:
            return await work
        except TocsinError as error:
            self.say(str(error))
            return None


async def begin(request: Request, services: Services, title: str) -> Visit:
    """Draw the bar, ask the browser for its zone and size, and make the place for messages."""
    state = request.state
    login = login_address(wanted_of(request.scope))
    visit = Visit(services, state.principal, state.cookie, login)
    ui.page_title(f"{title} - Tocsin")
    dark = ui.dark_mode(None)
    ui.context.client.content.classes("page").props('role="main"')
    with ui.header().classes("bar"):
        with ui.link(target="/").classes("brand").props('aria-label="Tocsin"'):
            ui.element("img").classes("mark").props('src="/assets/tocsin.svg" alt=""')
            ui.label("Tocsin")
        with ui.element("nav").props('aria-label="Views"'):
            for name, target in _PLACES:
                link = ui.link(name, target)
                if name == title:
                    link.props('aria-current="page"')
        ui.space()
        ui.button(icon="contrast", on_click=lambda: _flip(dark)).props(
            'flat round dense aria-label="Light or dark"'
        )
        if visit.cookie is not None:
            ui.label(f"{visit.principal.name} ({visit.principal.role})").classes("who")
            address = own_address(request, services)
            ui.button(
                icon="logout", on_click=lambda: _log_out(visit, state.session, address)
            ).props('flat round dense aria-label="Log out"')
    visit._toast = ui.element("div").classes("toasts").props('aria-live="polite"')  # noqa: SLF001
    await ui.context.client.connected(timeout=ANSWER_S)
    browser = await ui.run_javascript(_ASK_BROWSER, timeout=ANSWER_S)
    visit.clock = Clock(str(browser["zone"]))
    visit.fragment = str(browser["fragment"])
    visit.is_loud = browser["sound"] == "1"
    visit.is_narrow = int(browser["width"]) < 900
    if browser["dark"] is not None:
        dark.set_value(browser["dark"] == "1")
    if visit.cookie is not None:
        is_known = state.is_known

        async def leave_when_logged_out() -> None:
            if not await is_known():
                ui.navigate.to(visit.login)

        ui.timer(LOOK_S, leave_when_logged_out)
    return visit


async def _flip(dark: ui.dark_mode) -> None:
    is_dark = await ui.run_javascript(
        "return document.body.classList.contains('body--dark')", timeout=ANSWER_S
    )
    dark.set_value(not is_dark)
    ui.run_javascript(f"localStorage.setItem('tocsin-dark', '{int(not is_dark)}')")


async def _log_out(visit: Visit, session: Session | None, address: str) -> None:
    """End the session, and the provider's own if it vouched for who this is."""
    services, target = visit.services, LOGIN
    if visit.cookie is not None:
        try:
            await leave(services, visit.cookie, visit.principal.name)
        except TocsinError as error:
            visit.say(f"You are still logged in: {error}")
            return
    if session is not None and session.id_token and services.provider is not None:
        ending = services.provider.end(session.id_token, f"{address}{LOGIN}")
        target = await visit.trying(ending) or target
    ui.navigate.to(target)


def unread(error: TocsinError) -> None:
    """Say that an alert cannot be read now: it may be there all the same."""
    empty("cloud_off", "It cannot be read now", f"It is tried again: {error}")


def empty(icon: str, title: str, text: str) -> None:
    """Say that there is nothing, and why that is so."""
    with ui.column().classes("empty"):
        ui.icon(icon)
        ui.label(title).classes("title")
        ui.label(text)

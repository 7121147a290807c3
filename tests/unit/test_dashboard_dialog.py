"""A dialog leaves nothing on the page, and comes back with its words where these could not go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from nicegui import Client, ui
from nicegui.page import page

from streams.dashboard.pages.dialog import Dialog, buttons, dialog


def on_a_page(use: Callable[[Client], Awaitable[None]]) -> None:
    async def run() -> None:
        with Client(page("/")) as client:
            await use(client)
        client.delete()

    asyncio.run(run())


def asked() -> tuple[Dialog, ui.input]:
    with dialog("Dismiss 1 alert") as opened:
        text = ui.input("In words")
        buttons(opened, "Dismiss", lambda: None)
    return opened, text


def hide(opened: Dialog) -> None:
    """What a browser tells when it has closed one."""
    for one in list(opened._event_listeners.values()):
        if one.type == "hide":
            opened._handle_event({"listener_id": one.id, "args": []})


def test_a_shift_of_dialogs_leaves_the_page_as_it_was() -> None:
    async def use(client: Client) -> None:
        before = len(client.elements)
        for _ in range(3):
            opened, _ = asked()
            assert len(client.elements) > before
            opened.close()
            hide(opened)
            assert len(client.elements) == before

    on_a_page(use)


def test_one_whose_answer_is_sent_is_gone_once_it_is_hidden_and_no_sooner() -> None:
    async def use(client: Client) -> None:
        before = len(client.elements)
        for hides_first in (True, False):
            opened, _ = asked()
            here = opened

            async def send(opened: Dialog = here, *, hides: bool = hides_first) -> bool:
                assert not opened.value
                if hides:
                    hide(opened)
                assert not opened.is_deleted  # whoever sends works within it
                return True

            await opened.answer(send())
            assert opened.is_deleted == hides_first
            if not hides_first:
                hide(opened)
            assert len(client.elements) == before

    on_a_page(use)


def test_one_whose_answer_is_not_sent_opens_again_with_the_words_in_it() -> None:
    async def use(client: Client) -> None:
        before = len(client.elements)
        opened, text = asked()
        text.set_value("a known customer")

        async def send(*, is_sent: bool) -> bool:
            hide(opened)
            return is_sent

        await opened.answer(send(is_sent=False))
        assert opened.value
        hide(opened)  # told late, of the closing before
        assert not text.is_deleted
        assert text.value == "a known customer"
        await opened.answer(send(is_sent=True))
        assert len(client.elements) == before

    on_a_page(use)

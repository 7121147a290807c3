"""The place of one alert: what one has in hand there stays while the alert goes on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import Client, ui
from nicegui.page import page

from streams.dashboard.access.users import LOCAL, Principal
from streams.dashboard.pages import sheet
from streams.dashboard.pages.evidence import Around
from streams.dashboard.pages.sheet import Sheet
from streams.dashboard.pages.words import Clock
from streams.dashboard.view.records import ViewedAlert
from streams.schemas import Alert
from tests.dashboard import an_object


def seen(place: Any, kind: type[ui.element]) -> list[Any]:
    return [one for one in place.descendants() if isinstance(one, kind)]


def test_buttons_and_an_open_record_stay_while_the_alert_that_is_shown_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[Alert] = []

    async def look_up(*_: Any) -> tuple[ViewedAlert, Around]:
        return ViewedAlert(said[-1], 1, None, (), suppressed=False), Around([])

    monkeypatch.setattr(sheet, "look_up", look_up)
    visit: Any = SimpleNamespace(
        services=None, principal=Principal(LOCAL, "analyst"), clock=Clock()
    )
    decider: Any = SimpleNamespace()

    async def use() -> None:
        with Client(page("/")) as client:
            one = Sheet(visit, decider, ("Gone", "It is."))
            one.build()
            said.append(an_object(1))
            await one.show(said[-1].id)
            buttons, (record,) = seen(one._place, ui.button), seen(one._place, ui.expansion)
            record.open()
            said.append(an_object(1, 1, status="end"))
            await one.show(said[-1].id)
            assert seen(one._place, ui.button) == buttons
            assert seen(one._place, ui.expansion) == [record]
            assert record.value
            words = [label.text for label in seen(one._place, ui.label)]
            assert "going on" not in words
            assert [text for text in words if '"revision": 1' in text] == [words[-1]]

            said.append(an_object(2))
            await one.show(said[-1].id)
            assert not set(seen(one._place, ui.button)) & set(buttons)
            one.show_none()
            await one.show(said[-1].id)
            assert len(seen(one._place, ui.button)) == len(buttons)
        client.delete()

    asyncio.run(use())

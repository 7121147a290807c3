"""What suppressions hide is said where people watch."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.dashboard.pages import hidden
from streams.dashboard.pages.hidden import active_of, cameras_hidden, draw_hidden, hidden_told
from streams.dashboard.view.records import Suppression
from streams.errors import StoreUnavailable

YARD = Suppression("a", "object", "yard", 0, 9_000)
CARD = Suppression("b", "fraud", "gate", 0, 9_000)


def test_without_suppressions_nothing_is_said() -> None:
    assert active_of([], 0) == []
    assert hidden_told([]) == ""
    assert cameras_hidden([]) == set()


@pytest.mark.parametrize(
    ("count", "told"),
    [(1, "1 suppression hides alerts"), (3, "3 suppressions hide alerts")],
)
def test_it_is_said_how_many_hide_alerts(count: int, told: str) -> None:
    assert hidden_told([YARD] * count) == told


def test_those_that_were_lifted_or_have_ended_hide_nothing() -> None:
    assert active_of([YARD, CARD.lifted(500)], 1_000) == [YARD]
    assert active_of([YARD], 9_000) == []


def test_a_camera_is_suppressed_and_a_card_of_its_name_is_none() -> None:
    assert cameras_hidden([YARD, CARD]) == {"yard"}


def test_the_line_stays_as_it_is_while_nobody_can_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [[YARD], StoreUnavailable("cannot reach Redis"), []]
    said: list[Any] = []
    look: list[Any] = []

    async def suppressions() -> list[Suppression]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    line = SimpleNamespace(set_text=said.append, set_visibility=lambda shown: None)
    link = SimpleNamespace(classes=lambda name: line)
    page = SimpleNamespace(link=lambda *_: link, timer=lambda every_s, then: look.append(then))
    monkeypatch.setattr(hidden, "ui", page)
    monkeypatch.setattr("time.time", lambda: 1.0)
    visit: Any = SimpleNamespace(
        services=SimpleNamespace(store=SimpleNamespace(suppressions=suppressions))
    )
    draw_hidden(visit)

    async def use() -> None:
        for _ in range(3):
            await look[0]()

    asyncio.run(use())
    assert said == ["1 suppression hides alerts", ""]

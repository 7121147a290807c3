"""The health page: what it draws anew, and what goes on record."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from streams.dashboard.pages.health import Health
from streams.dashboard.view.records import Suppression
from streams.errors import StoreUnavailable, TocsinError


async def trying(work: Awaitable[Any]) -> Any:
    try:
        return await work
    except TocsinError:
        return None


def test_suppressions_are_drawn_anew_when_one_is_made_or_lifted_or_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Suppression("s", "object", "yard", 0, 9_000)
    held: list[Suppression] = []
    drawn: list[list[str]] = []
    away, second = False, 1.0

    async def suppressions() -> list[Suppression]:
        if away:
            raise StoreUnavailable("no Redis")
        return list(held)

    def draw(active: Sequence[Suppression]) -> None:
        drawn.append([one.id for one in active])

    monkeypatch.setattr("time.time", lambda: second)
    services = SimpleNamespace(store=SimpleNamespace(suppressions=suppressions))
    visit: Any = SimpleNamespace(services=services, trying=trying)
    page: Any = Health(visit)
    page._draw_suppressions = draw

    async def looked() -> list[list[str]]:
        await page._suppressions()
        await page._suppressions()
        found = drawn.copy()
        drawn.clear()
        return found

    async def use() -> None:
        nonlocal held, away, second
        assert await looked() == [[]]
        held = [made]
        assert await looked() == [["s"]]
        held = [made.lifted(500)]
        assert await looked() == [[]]
        held = [made]
        assert await looked() == [["s"]]
        away = True
        assert await looked() == []  # nobody can tell now
        away, second = False, 10.0
        assert await looked() == [[]]  # it ended by itself

    asyncio.run(use())

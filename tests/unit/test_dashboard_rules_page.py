"""What is drawn while rules are being saved stays, and they are saved once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from streams.dashboard.access.users import LOCAL, Principal
from streams.dashboard.pages.rules import RulesPage
from streams.dashboard.rules.editor import Held
from streams.dashboard.rules.part import CameraRules

CORNERS = ((0.1, 0.1), (0.9, 0.1), (0.5, 0.9))


class Slow:
    """In the place of the editor: takes its time."""

    def __init__(self) -> None:
        self.saved: list[tuple[list[str], list[str]]] = []

    async def save(self, camera: str, part: CameraRules, known: list[str], who: object) -> Held:
        self.saved.append((sorted(part.zones), known))
        await asyncio.sleep(0.01)
        return Held(part, f"digest {len(self.saved)}")


@pytest.fixture
def editor() -> Slow:
    return Slow()


@pytest.fixture
def page(editor: Slow, monkeypatch: pytest.MonkeyPatch) -> RulesPage:
    async def doing(work: Callable[[Principal], Awaitable[Any]]) -> Any:
        return await work(Principal(LOCAL, "analyst"))

    visit: Any = SimpleNamespace(
        services=SimpleNamespace(rules=editor), doing=doing, say=lambda text: None
    )
    for name in ("_show", "_say_whether_in_force"):
        monkeypatch.setattr(RulesPage, name, lambda page: None)
    page = RulesPage(visit, "yard")
    page._held = Held(CameraRules(), "digest 0")
    page._save = SimpleNamespace(disable=lambda: None)
    page._draft.place("zone", "gate", CORNERS)
    return page


def test_a_double_click_saves_once(page: RulesPage, editor: Slow) -> None:
    async def use() -> None:
        await asyncio.gather(page._send(), page._send())

    asyncio.run(use())
    assert editor.saved == [(["gate"], ["digest 0"])]
    assert not page._draft.is_changed


def test_what_is_drawn_while_it_saves_stays_and_is_saved_by_the_next_press(
    page: RulesPage, editor: Slow
) -> None:
    async def use() -> None:
        saving = asyncio.ensure_future(page._send())
        await asyncio.sleep(0)
        page._draft.place("zone", "yard", CORNERS)
        page._draft.begin("line")
        page._draft.press(0.2, 0.2)
        await saving
        assert page._draft.is_changed
        assert (page._draft.drawing, page._draft.points) == ("line", [(0.2, 0.2)])
        await page._send()

    asyncio.run(use())
    assert editor.saved == [(["gate"], ["digest 0"]), (["gate", "yard"], ["digest 1"])]
    assert not page._draft.is_changed

"""A list shows what its filters take, or says that it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from streams.dashboard.pages import live, sheet
from streams.dashboard.pages.alert import AlertPage
from streams.dashboard.pages.choice import Choice
from streams.dashboard.pages.live import LiveList
from streams.dashboard.pages.rows import Rows
from streams.dashboard.view.changes import Change, Subscription
from streams.dashboard.view.query import Filters, Page, cursor_of, place_of
from streams.dashboard.view.records import Verdict, ViewedAlert
from streams.errors import StoreUnavailable
from tests.dashboard import a_fraud, an_object


class Part:
    """A part of the page that keeps what it was told."""

    id = 1

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.is_shown = True

    def set_text(self, text: str) -> None:
        self.said.append(text)

    def set_visibility(self, shown: bool) -> None:
        self.is_shown = shown

    def run_grid_method(self, name: str, *args: Any) -> None:
        self.said.append((name, *args))

    @property
    def rows(self) -> list[str]:
        """Ids in the grid, as its transactions leave them."""
        found: list[str] = []
        for said in self.said:
            if said[0] == "setGridOption":
                found = []
            elif said[0] == "applyTransactionAsync":
                gone = {row["id"] for row in said[1].get("remove", ())}
                found = [name for name in found if name not in gone]
                found += [row["id"] for row in said[1].get("add", ())]
        return found


def a_list(
    subscription: Subscription | None = None, choice: Choice | None = None
) -> tuple[LiveList, Part, Part]:
    """One with its grid and its status line."""
    services = SimpleNamespace(store=None, changes=SimpleNamespace(watching=1))
    visit: Any = SimpleNamespace(services=services, is_narrow=False)
    made: Any = LiveList(visit, subscription or Subscription(), choice or Choice())
    made._sound = SimpleNamespace(ring=lambda: None)
    made._timer = SimpleNamespace(interval=0.0)
    made._grid, made._status, made._empty = grid, status, _ = Part(), Part(), Part()
    return made, grid, status


def viewed(number: int, opened: int = 1) -> ViewedAlert:
    return ViewedAlert(a_fraud(number), opened, None, (), suppressed=False)


def giving(answers: list[Any]) -> Any:
    """What reads a page: these, one after the other."""

    async def page_of(*_: Any, **__: Any) -> Page:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Page)
        return answer

    return page_of


def told(subscription: Subscription, alerts: Sequence[ViewedAlert]) -> None:
    for one in alerts:
        subscription.offer(Change("1-0", one))


def test_a_first_page_that_cannot_be_read_is_tried_again_before_news_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [StoreUnavailable("cannot reach Redis"), Page([viewed(1)], None)]

    monkeypatch.setattr(live, "page_of", giving(answers))
    monkeypatch.setattr(live, "_AGAIN_S", 0.05)
    subscription = Subscription()
    one, grid, status = a_list(subscription)

    async def use() -> None:
        await one.load()
        assert "cannot be loaded now" in status.said[-1]
        told(subscription, [viewed(2)])
        await one._tick()
        await one._next([])
        assert grid.rows == []
        await asyncio.sleep(0.06)
        await one._tick()
        assert grid.rows == [viewed(1).alert.id]
        await one._tick()

    asyncio.run(use())
    assert status.said[-1] == "1 alert"
    assert answers == []


@pytest.mark.parametrize(("lists", "every_s"), [(1, 0.25), (12, 0.25), (50, 1.0), (200, 4.0)])
def test_of_many_lists_each_is_drawn_less_often(lists: int, every_s: float) -> None:
    one, _, _ = a_list()
    visit: Any = one._visit
    visit.services.changes.watching = lists
    asyncio.run(one._tick())
    assert one._timer.interval == every_s


def test_a_list_that_is_paused_is_loaded_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [StoreUnavailable("cannot reach Redis"), Page([viewed(1)], None)]

    monkeypatch.setattr(live, "page_of", giving(answers))
    monkeypatch.setattr(live, "_AGAIN_S", 0.0)
    one, grid, _ = a_list()
    one._paused = True

    async def use() -> None:
        await one.load()
        await one._tick()

    asyncio.run(use())
    assert grid.rows == [viewed(1).alert.id]


def test_a_span_of_time_goes_on_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    minute, asked = 60_000, list[int | None]()
    now = 100 * minute

    async def page_of(store: object, filters: Filters, **_: Any) -> Page:
        asked.append(filters.since)
        return Page([viewed(1, 99 * minute), viewed(2, 86 * minute)], None)

    monkeypatch.setattr(live, "page_of", page_of)
    monkeypatch.setattr(live, "_SLIDE_S", 0.0)
    monkeypatch.setattr("time.time", lambda: now / 1000)
    subscription = Subscription()
    one, grid, status = a_list(subscription, Choice(minutes=15))

    async def use() -> None:
        nonlocal now
        await one.load()
        await one._tick()
        assert grid.rows == [viewed(1).alert.id, viewed(2).alert.id]
        now = 102 * minute
        await one._tick()
        assert grid.rows == [viewed(1).alert.id]
        assert status.said[-1] == "1 alert"
        # A list that is loaded anew begins where the span begins by then, and takes in no older.
        await one.load()
        told(subscription, [viewed(3, 80 * minute)])
        await one._tick()
        assert viewed(3).alert.id not in grid.rows

    asyncio.run(use())
    assert asked == [85 * minute, 87 * minute]


def test_a_list_without_a_span_keeps_what_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "page_of", giving([Page([viewed(1)], None)]))
    monkeypatch.setattr(live, "_SLIDE_S", 0.0)
    one, grid, _ = a_list()

    async def use() -> None:
        await one.load()
        await one._tick()

    asyncio.run(use())
    assert grid.rows == [viewed(1).alert.id]


def test_a_list_that_is_paused_shows_what_is_decided_on_it_and_holds_back_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "page_of", giving([Page([viewed(1), viewed(2)], None)]))

    async def no_browser(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(live.ui, "run_javascript", no_browser)
    subscription = Subscription()
    one, grid, status = a_list(subscription)
    known = viewed(1)
    visit: Any = one._visit
    first, second, third = (viewed(number).alert.id for number in (1, 2, 3))

    async def get(ids: Sequence[str]) -> list[ViewedAlert]:
        assert ids == [first]
        return [known]

    async def trying(work: Any) -> Any:
        return await work

    visit.services.store, visit.trying = SimpleNamespace(get=get), trying

    async def use() -> None:
        nonlocal known
        await one.load()
        one._paused = True
        told(subscription, [viewed(3)])
        known = replace(known, verdict=Verdict(True, 2))
        await one._next([first])
        assert grid.rows == [second]
        assert status.said[-1] == "1 alert"
        known = replace(known, verdict=None)  # taken back
        await one._next([])
        assert grid.rows == [second, first]
        one._paused = False
        await one._tick()
        assert grid.rows == [second, first, third]

    asyncio.run(use())


def test_a_list_goes_on_while_a_decision_is_on_its_way_and_keeps_what_it_is_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The row after those that are decided is chosen while these are there."""
    monkeypatch.setattr(live, "page_of", giving([Page([viewed(1), viewed(2)], None)]))
    first, second, third = (viewed(number).alert.id for number in (1, 2, 3))
    asked: list[list[str]] = []

    async def browser(*_: Any, **__: Any) -> None:
        asked.append(list(grid.rows))

    monkeypatch.setattr(live.ui, "run_javascript", browser)
    subscription = Subscription()
    one, grid, _ = a_list(subscription, Choice(decision="undecided"))

    async def use() -> None:
        await one.load()
        one._decider.on_its_way = [first]
        told(subscription, [replace_verdict(viewed(1)), viewed(3)])
        await one._tick()
        assert grid.rows == [first, second, third]
        subscription.lost = True  # a list that is loaded anew has lost its rows meanwhile
        await one._tick()
        assert subscription.lost
        subscription.lost = False
        await one._next([first])
        assert grid.rows == [second, third]

    asyncio.run(use())
    assert asked == [[first, second, third]]


class Place:
    """Where one alert is drawn."""

    def clear(self) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def drawing(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a page draws into its place for one alert."""
    drawn: list[str] = []

    def draw(visit: Any, decider: Any, one: ViewedAlert, around: Any) -> None:
        drawn.append(one.alert.id)

    monkeypatch.setattr(sheet, "draw_alert", draw)
    monkeypatch.setattr(sheet, "empty", lambda icon, title, text: drawn.append(title))
    monkeypatch.setattr(sheet, "unread", lambda error: drawn.append(str(error)))
    return drawn


def looking_up(answers: list[Any]) -> Any:
    """What reads an alert: these, one after the other."""

    async def look_up(*_: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer and (answer, None)

    return look_up


def test_an_alert_that_cannot_be_read_now_is_tried_again_and_not_called_too_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = StoreUnavailable("cannot reach Redis")
    monkeypatch.setattr(live, "page_of", giving([Page([viewed(1)], None)]))
    monkeypatch.setattr(sheet, "look_up", looking_up([away, away, viewed(1), None]))
    monkeypatch.setattr(sheet, "_AGAIN_S", 0.0)
    drawn = drawing(monkeypatch)
    one, _, _ = a_list()
    made: Any = one
    made._sheet._place = Place()

    async def use() -> None:
        await one.load()
        await one._sheet.show(viewed(1).alert.id)
        for _ in range(4):
            await one._tick()
        assert drawn == [*["cannot reach Redis"] * 2, viewed(1).alert.id]
        await one._sheet.show("old")
        await one._tick()

    asyncio.run(use())
    assert drawn[3:] == ["No longer in the view"]


def test_the_page_of_an_alert_that_cannot_be_read_now_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    away = StoreUnavailable("cannot reach Redis")
    monkeypatch.setattr(sheet, "look_up", looking_up([away, viewed(1)]))
    monkeypatch.setattr(sheet, "_AGAIN_S", 0.0)
    drawn = drawing(monkeypatch)
    visit: Any = SimpleNamespace(services=None)
    page: Any = AlertPage(visit, Subscription(), viewed(1).alert.id)
    page._sheet._place = Place()

    async def use() -> None:
        await page._draw()
        for _ in range(3):
            await page._tick()

    asyncio.run(use())
    assert drawn == ["cannot reach Redis", viewed(1).alert.id]


def test_what_is_shown_is_chosen_again_when_its_list_is_loaded_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "page_of", giving([Page([viewed(1), viewed(2)], None)]))
    scripts: list[str] = []
    monkeypatch.setattr(live.ui, "run_javascript", scripts.append)
    one, _, _ = a_list()
    one._sheet.shown = viewed(2).alert.id

    asyncio.run(one.load())
    assert one._sheet.shown == viewed(2).alert.id
    (script,) = scripts
    assert f'getRowNode("{one._sheet.shown}")?.setSelected(true)' in script


def test_what_is_shown_and_not_in_the_list_that_was_loaded_is_shown_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers: list[Any] = [StoreUnavailable("cannot reach Redis"), Page([viewed(1)], None)]
    monkeypatch.setattr(live, "page_of", giving(answers))
    drawn = drawing(monkeypatch)
    one, _, _ = a_list()
    made: Any = one
    made._sheet._place, one._sheet.shown = Place(), viewed(2).alert.id

    async def use() -> None:
        await one.load()
        assert drawn == []  # nobody can tell yet
        await one.load()

    asyncio.run(use())
    assert one._sheet.shown is None
    assert drawn == ["No alert chosen"]


def test_a_list_that_is_paused_says_how_many_of_its_alerts_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "page_of", giving([Page([viewed(1)], None)]))
    subscription = Subscription()
    one, _, _ = a_list(subscription, Choice(kind="fraud"))
    made: Any = one
    made._pause, one._paused = Part(), True
    other = ViewedAlert(an_object(7), 1, None, (), suppressed=False)

    async def use() -> None:
        await one.load()
        await one._tick()
        told(subscription, [viewed(1), viewed(2), viewed(2), other])
        await one._tick()
        subscription.lost = True
        await one._tick()

    asyncio.run(use())
    assert made._pause.said == ["Go on (0)", "Go on (2)", "Go on (2,000+)"]


def test_alerts_that_had_to_make_room_are_on_the_next_page_once_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that came before them are known, and an older page of the list than theirs too."""
    listed = [viewed(number, number) for number in range(1, 7)]

    async def page_of(_: Any, wanted: Filters, *, limit: int, cursor: str | None) -> Page:
        below = [one for one in reversed(listed) if wanted.includes(one)]
        if cursor is not None:
            place = place_of(cursor)
            below = [one for one in below if (one.opened, one.alert.id) < place]
        last = cursor_of((below[1].opened, below[1].alert.id)) if len(below) > 2 else None
        return Page(below[:2], last)

    async def last_row(*_: Any, **__: Any) -> int:
        return 5

    monkeypatch.setattr(live, "page_of", page_of)
    monkeypatch.setattr(live.ui, "run_javascript", last_row)
    subscription = Subscription()
    one, grid, status = a_list(subscription, Choice(decision="undecided"))
    made: Any = one
    made._rows = Rows(most=4)

    async def use() -> None:
        await one.load()
        await one._scrolled()
        assert sorted(grid.rows) == [viewed(number).alert.id for number in (3, 4, 5, 6)]
        # 1. Two come, and two make room.
        listed.extend(viewed(number, number) for number in (7, 8))
        told(subscription, listed[-2:])
        await one._tick()
        assert sorted(grid.rows) == [viewed(number).alert.id for number in (5, 6, 7, 8)]
        # 2. All that are shown are decided.
        for place in range(4, 8):
            listed[place] = replace_verdict(listed[place])
        told(subscription, listed[4:])
        await one._tick()
        assert grid.rows == []
        assert status.said[-1] == "0+ alerts"
        # 3. Those that had made room come back, and what is older after them.
        for _ in range(2):
            await one._scrolled()
        assert grid.rows == [viewed(number).alert.id for number in (4, 3, 2, 1)]

    asyncio.run(use())


def replace_verdict(one: ViewedAlert) -> ViewedAlert:
    return ViewedAlert(one.alert, one.opened, Verdict(True, 9), (), suppressed=False)

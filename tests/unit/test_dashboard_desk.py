"""What time a verdict has."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from streams.dashboard.access.users import Principal
from streams.dashboard.desk import Decided, Desk
from streams.dashboard.view.records import Verdict, ViewedAlert
from streams.errors import TocsinError
from streams.figures import DAY_MS
from streams.settings import load_settings
from tests.dashboard import a_fraud

ANN = Principal("ann", "analyst")
HORIZON = 180


class Shelf:
    """A view of one alert, and a sender that takes all."""

    def __init__(self, newest: int) -> None:
        self.viewed = ViewedAlert(a_fraud(1), 0, None, (), suppressed=False)
        self.event_time = self.viewed.alert.event_time
        self._newest = self.event_time + newest

    async def get(self, ids: list[str]) -> list[ViewedAlert]:
        return [self.viewed] * len(ids)

    async def newest_event(self) -> int:
        return self._newest

    async def put_actions(self, actions: Any) -> None:
        pass

    async def put_verdicts(self, verdicts: dict[str, Verdict]) -> None:
        (verdict,) = verdicts.values()
        viewed = self.viewed
        self.viewed = ViewedAlert(viewed.alert, 0, verdict, (), suppressed=False)

    async def send(self, topic: str, records: Any, headers: Any = None) -> None:
        pass


def judged(shelf: Shelf, clock: Literal["wall", "event"], now_ms: int, *, outcome: bool) -> Decided:
    made = load_settings(dashboard={"clock": clock}, labels={"horizon_days": HORIZON})
    one: Any = shelf
    desk = Desk(made, one, one, now=lambda: (shelf.event_time + now_ms) / 1000)
    return asyncio.run(desk.judge([shelf.viewed.alert.id], outcome, ANN))


@pytest.mark.parametrize(
    ("clock", "days"), [("wall", 2), ("event", 5), ("event", 179), ("event", 3_000)]
)
def test_a_verdict_is_of_its_clock_and_within_the_horizon_of_a_calendar_that_runs_ahead(
    clock: Literal["wall", "event"], days: int
) -> None:
    """However long somebody reads an alert of the simulator; and they may change their mind."""
    shelf = Shelf(newest=days * DAY_MS)
    decided = judged(shelf, clock, 2 * DAY_MS, outcome=True)
    (said,) = decided.said.values()
    expected = min(days, HORIZON - 1) * DAY_MS
    assert abs(said.at - shelf.event_time - expected) <= 1

    again = judged(shelf, clock, 2 * DAY_MS, outcome=False)
    (later,) = again.said.values()
    assert later.at == said.at + 1


def test_an_alert_that_is_older_than_the_horizon_is_not_judged_by_our_clock() -> None:
    shelf = Shelf(newest=0)
    with pytest.raises(TocsinError, match=r"set dashboard\.clock to event"):
        judged(shelf, "wall", 200 * DAY_MS, outcome=True)

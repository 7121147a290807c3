"""What time a verdict has."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from streams.dashboard.access.users import Principal
from streams.dashboard.desk import Desk
from streams.errors import TocsinError
from streams.figures import DAY_MS
from streams.settings import load_settings
from tests.dashboard import a_fraud
from tests.fakes.view import Memory, Sender

ANN = Principal("ann", "analyst")
HORIZON = 180


def judged(
    view: Memory, clock: Literal["wall", "event"], days: int, *, outcome: bool
) -> tuple[int, int]:
    """Say it that many days later by our clock; give the verdict's time and the payment's."""
    made = load_settings(dashboard={"clock": clock}, labels={"horizon_days": HORIZON})
    ((name, viewed),) = view.viewed.items()
    happened = viewed.alert.event_time
    store: Any = view
    sender: Any = Sender()
    desk = Desk(made, store, sender, now=lambda: (happened + days * DAY_MS) / 1000)
    return asyncio.run(desk.judge([name], outcome, ANN)).said[name].at, happened


@pytest.mark.parametrize(
    ("clock", "days"), [("wall", 2), ("event", 5), ("event", 179), ("event", 3_000)]
)
def test_a_verdict_is_of_its_clock_and_within_the_horizon_of_a_calendar_that_runs_ahead(
    clock: Literal["wall", "event"], days: int
) -> None:
    """However long somebody reads an alert of the simulator; and they may change their mind."""
    view = Memory([alert := a_fraud(1)])
    view.newest = alert.event_time + days * DAY_MS
    said, happened = judged(view, clock, 2, outcome=True)
    assert abs(said - happened - min(days, HORIZON - 1) * DAY_MS) <= 1

    assert judged(view, clock, 2, outcome=False) == (said + 1, happened)


def test_an_alert_that_is_older_than_the_horizon_is_not_judged_by_our_clock() -> None:
    with pytest.raises(TocsinError, match=r"set dashboard\.clock to event"):
        judged(Memory([a_fraud(1)]), "wall", 200, outcome=True)

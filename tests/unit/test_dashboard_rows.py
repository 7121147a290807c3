"""What a list holds as alerts come, change and are decided."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from streams.dashboard.pages.grid import grid_for
from streams.dashboard.pages.rows import Rows
from streams.dashboard.view.query import Filters, Page, cursor_of
from streams.dashboard.view.records import Verdict, ViewedAlert
from streams.schemas import Alert
from tests.dashboard import a_fraud, an_object

EVERYTHING = Filters()


def viewed(alert: Alert, opened: int, verdict: Verdict | None = None) -> ViewedAlert:
    return ViewedAlert(alert, opened, verdict, (), suppressed=False)


def ids(steps: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    return {step: [row["id"] for row in rows] for step, rows in steps.items() if rows}


def test_nothing_changes_an_empty_list() -> None:
    rows = Rows()
    assert ids(rows.older(Page([], None))) == ids(rows.news([], EVERYTHING)) == {}
    assert (len(rows), rows.is_full, rows.cursor) == (0, False, None)


def test_new_alerts_come_into_a_full_list_and_the_oldest_make_room() -> None:
    rows = Rows(most=3)
    old = [viewed(a_fraud(number), number) for number in range(3)]
    rows.older(Page(old, None))
    assert rows.is_full
    new = [viewed(a_fraud(number), number) for number in (10, 11)]
    gone = [one.alert.id for one in old[:2]]
    steps = ids(rows.news([*new, old[0]], EVERYTHING))
    assert steps == {"add": [one.alert.id for one in new], "remove": gone}
    assert len(rows) == 3
    # Those that went are the next page, if one day there is room.
    assert rows.cursor == cursor_of((2, old[2].alert.id))
    # One that is older than all that there is room for does not come in.
    assert ids(rows.news([viewed(a_fraud(1), 1)], EVERYTHING)) == {}


def test_what_is_decided_leaves_a_list_of_what_is_to_decide_and_comes_back() -> None:
    rows, wanted = Rows(), Filters(decision="undecided")
    alert = an_object(1)
    assert ids(rows.news([viewed(alert, 5)], wanted)) == {"add": [alert.id]}
    later = replace(alert, revision=1, status="update")
    assert ids(rows.news([viewed(later, 5)], wanted)) == {"update": [alert.id]}
    confirmed = viewed(later, 5, Verdict(True, 9))
    assert ids(rows.news([confirmed], wanted)) == {"remove": [alert.id]}
    assert ids(rows.news([confirmed], wanted)) == {}
    assert ids(rows.news([viewed(later, 5, Verdict(None, 10))], wanted)) == {"add": [alert.id]}


def test_a_page_brings_no_alert_that_came_as_news_before_it() -> None:
    rows, alerts = Rows(), [viewed(a_fraud(number), number) for number in range(2)]
    rows.news(alerts[1:], EVERYTHING)
    assert ids(rows.older(Page(alerts, None))) == {"add": [alerts[0].alert.id]}


@pytest.mark.parametrize("is_narrow", [False, True])
def test_why_is_told_in_full_where_it_is_cut(*, is_narrow: bool) -> None:
    options = grid_for(is_narrow=is_narrow)
    (why,) = (one for one in options["columnDefs"] if one["headerName"] == "Why")
    assert why["tooltipField"] == why["field"]
    assert options["enableBrowserTooltips"]

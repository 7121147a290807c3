"""What a soak finds it must also say: alerts without a payment, and demands that failed."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.soak.check import NO_CARD, Truth, has_basis
from tests.soak.page import Demands, Footprint, write_unfinished
from tests.soak.servers import Life

TRUTH = Truth(ends={0: 3}, cards={0: array("i", [7, NO_CARD, 8])})
ALERT = {
    "id": "payments:0:2:fraud",
    "event_id": "payments:0:2:fraud:0",
    "entity": "card-8",
    "score": 0.9,
    "source": {"partition": 0, "offset": 2},
}


def test_an_alert_of_a_payment_of_its_card_has_a_basis() -> None:
    assert has_basis(ALERT, TRUTH, "payments", 0.5)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"entity": "card-7"}, id="another card"),
        pytest.param({"id": "payments:0:0:fraud"}, id="another id"),
        pytest.param({"event_id": "payments:0:2:fraud:1"}, id="another revision"),
        pytest.param({"score": 0.4}, id="below the threshold"),
        pytest.param({"source": {"partition": 0, "offset": 1}}, id="a dead letter"),
        pytest.param({"source": {"partition": 0, "offset": 3}}, id="past the end"),
        pytest.param({"source": {"partition": 5, "offset": 0}}, id="an unknown partition"),
    ],
)
def test_any_other_alert_has_none(changed: dict[str, Any]) -> None:
    assert not has_basis({**ALERT, **changed}, TRUTH, "payments", 0.5)


def test_the_outcome_names_each_demand_that_failed_and_no_other() -> None:
    demands = Demands()
    demands.that(True, "rows are there")
    assert demands.outcome().startswith("**Passed**")
    demands.that(False, "commits are right", 3)
    with demands.of("alerts are right"):
        raise AssertionError("two are not")
    assert demands.outcome() == "**Failed**: commits are right; alerts are right.\n"


def test_the_outcome_says_what_was_not_asked() -> None:
    demands = Demands()
    demands.skip("whether memory grows")
    assert demands.outcome().endswith("held. Not asked: whether memory grows.\n")


def test_the_page_of_a_run_that_ended_early_says_so(tmp_path: Path) -> None:
    page = tmp_path / "soak.md"
    page.write_text("**Passed**")
    write_unfinished(page, 60, 1, AssertionError("no progress:\nlogs"))
    assert "**Passed**" not in page.read_text()
    assert "**Failed**" in page.read_text()
    assert "AssertionError: no progress)" in page.read_text()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param(lambda at: 30 + at // 10, (34, 37), id="one is left behind now and then"),
        pytest.param(lambda at: 30 + 40 * (at % 7 == 0), (30, 30), id="many for a moment"),
    ],
)
def test_files_that_stay_open_are_told_from_those_of_a_moment(
    files: Callable[[int], int], found: tuple[int, int]
) -> None:
    samples = [(float(at), 600.0, 10, files(at)) for at in range(101)]
    assert Footprint.of(Life("fraud", 1, samples)).files == found

"""What is drawn over the picture of an alert."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.dashboard.pages.detail import novelty_told, scene_of, why_gone
from streams.schemas import Alert
from tests.dashboard import an_object


def with_points(points: str, name: str = "path") -> Alert:
    alert = an_object(1)
    return replace(alert, detail={**alert.detail, name: points})


def test_the_way_of_an_object_is_a_line_over_the_picture() -> None:
    drawn = scene_of(with_points("0.1,0.9 0.25,0.805 1,0"))
    assert '<polyline class="path" points="10.0,90.0 25.0,80.5 100.0,0.0"/>' in drawn


def test_the_zone_of_its_rule_is_drawn_with_its_corners() -> None:
    drawn = scene_of(with_points("0,0 0.5,0 0.5,1", "outline"))
    assert '<polygon class="place" points="0.0,0.0 50.0,0.0 50.0,100.0"/>' in drawn


@pytest.mark.parametrize(
    "points",
    ["", "0.5,0.5", '"><script>alert(1)</script>', "nan,nan inf,1", "0.1,0.2x 0.3,0.4", "-1,2 3,4"],
)
@pytest.mark.parametrize("name", ["path", "outline"])
def test_nothing_is_drawn_of_what_are_no_points(points: str, name: str) -> None:
    assert scene_of(with_points(points, name)) == ""


def test_of_an_alert_without_a_zone_or_a_way_nothing_is_drawn() -> None:
    assert scene_of(an_object(1)) == ""


@pytest.mark.parametrize(
    ("hours", "why"),
    [(1, "It could not be loaded."), (72, "Pictures are kept for 72 hours.")],
)
def test_a_picture_that_is_gone_by_now_is_told_from_one_that_does_not_load(
    hours: int, why: str
) -> None:
    alert = an_object(1)
    assert why_gone(alert, 72.0, alert.processed_at / 1000 + hours * 3600) == why


def test_novelty_is_how_many_transactions_of_the_training_surprised_less() -> None:
    told = novelty_told(0.98)
    assert told == "More unusual for its card than 98.0 % of transactions in training"

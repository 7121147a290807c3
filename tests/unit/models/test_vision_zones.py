from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from models.errors import DataError
from models.vision.schedule import Day, Schedule, armed, zone_of
from models.vision.zones import anchors, crossings, inside

SQUARE = np.array([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]])
DOWNWARDS = np.array([[0.5, 0.2], [0.5, 0.8]])
NO_POINTS = np.zeros((0, 2))


def test_no_points_are_nowhere() -> None:
    assert inside(NO_POINTS, SQUARE).shape == (0,)
    assert crossings(NO_POINTS, NO_POINTS, DOWNWARDS).shape == (0,)
    assert anchors(np.zeros((0, 4), np.float32), 640, 480).shape == (0, 2)


def test_an_object_stands_where_its_lower_edge_has_its_middle() -> None:
    boxes = np.array([[100, 100, 300, 240], [-50, 400, 50, 600]], np.float32)
    assert anchors(boxes, 400, 480).tolist() == [[0.5, 0.5], pytest.approx([0, 1], abs=1e-5)]


def test_a_concave_zone_excludes_its_notch() -> None:
    notched = np.array([[0, 0], [1, 0], [1, 1], [0.5, 0.3], [0, 1]], np.float64)
    points = np.array([[0.5, 0.2], [0.5, 0.6], [0.1, 0.6], [0.9, 0.6]])
    assert inside(points, notched).tolist() == [True, False, True, True]


def test_a_zone_to_the_edge_of_the_frame_holds_feet_that_are_cut_off() -> None:
    lower_half = np.array([[0, 0.5], [1, 0.5], [1, 1], [0, 1]])
    cut = anchors(np.array([[630, 400, 700, 900]], np.float32), 640, 480)
    assert inside(cut, lower_half).tolist() == [True]


def test_a_shared_edge_belongs_to_one_zone() -> None:
    left, right = SQUARE * [0.5, 1], SQUARE * [0.5, 1] + [0.3, 0]
    edge = np.array([[0.4, 0.5]])
    assert inside(edge, left)[0] != inside(edge, right)[0]


def test_a_line_downwards_has_its_right_hand_side_in_the_west() -> None:
    west, east = np.array([[0.4, 0.5]]), np.array([[0.6, 0.5]])
    assert crossings(east, west, DOWNWARDS).tolist() == [1]
    assert crossings(west, east, DOWNWARDS).tolist() == [-1]


def test_who_passes_beside_a_line_does_not_cross_it() -> None:
    west, east = np.array([[0.4, 0.9]]), np.array([[0.6, 0.9]])
    assert crossings(west, east, DOWNWARDS).tolist() == [0]


def test_who_stops_on_the_line_crosses_it_once() -> None:
    path = np.array([[0.4, 0.5], [0.5, 0.5], [0.5, 0.6], [0.6, 0.6]])
    assert np.abs(crossings(path[:-1], path[1:], DOWNWARDS)).sum() == 1


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-06-05T19:59:59", False),  # Friday 21:59 in Berlin
        ("2026-06-05T20:00:00", True),
        ("2026-06-06T03:59:59", True),  # the morning after still is Friday's night
        ("2026-06-06T04:00:00", False),
        ("2026-06-06T21:00:00", False),  # Saturday's night is not listed
        ("2026-06-05T01:00:00", False),  # nor is Thursday's
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(moment: str, expected: bool) -> None:
    night = Schedule(days=("fri",), begin=time(22), end=time(6))
    assert armed(night, ZoneInfo("Europe/Berlin"), at(moment)) is expected


def test_without_times_a_schedule_means_whole_days() -> None:
    days: tuple[Day, ...] = ("sat", "sun")
    weekend = Schedule(days=days)
    utc = ZoneInfo("UTC")
    assert [armed(weekend, utc, at(f"2026-06-0{day}T00:00:00")) for day in (5, 6, 7, 8)] == [
        False, True, True, False,
    ]  # fmt: skip
    assert armed(Schedule(), utc, -1)


def test_a_zone_that_does_not_exist_is_named() -> None:
    for name in ("Europe/Bln", "", "../etc/passwd"):
        with pytest.raises(DataError, match="no time zone"):
            zone_of(name)

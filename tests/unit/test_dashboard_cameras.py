"""Boxes on the wall belong to the pictures that they are drawn on."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.dashboard.pages.cameras import EXACT_MS, NEAR_MS, _is_late, on_picture
from streams.dashboard.pages.detail import box_of
from tests.dashboard import an_object


def test_without_alerts_there_are_no_boxes() -> None:
    assert on_picture([], 7) == ([], [])


def test_a_box_is_drawn_on_a_picture_of_its_time_alone() -> None:
    taken_at = 1_000_000
    before, now, after, long_ago = (
        replace(an_object(number), event_time=taken_at + ms)
        for number, ms in enumerate((-NEAR_MS, 0, NEAR_MS, -NEAR_MS - 1))
    )
    assert on_picture([long_ago, before, now, after], taken_at) == (
        [before, now, after],
        [long_ago],
    )


@pytest.mark.parametrize(("ms", "is_late"), [(0, False), (EXACT_MS, False), (EXACT_MS + 1, True)])
def test_a_box_that_is_not_of_the_pictures_moment_is_dashed(ms: int, is_late: bool) -> None:
    box = {"x1": 0.1, "y1": 0.2, "x2": 0.3, "y2": 0.4}
    alert = replace(an_object(1), event_time=1_000_000 - ms, detail=box)
    drawn = box_of(alert, is_late=_is_late(alert, 1_000_000))
    assert ('class="box late"' in drawn) == is_late
    assert ('class="box"' in drawn) != is_late

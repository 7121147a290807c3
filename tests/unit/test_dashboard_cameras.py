"""Boxes on the wall belong to the pictures that they are drawn on."""

from __future__ import annotations

from msgspec.structs import replace

from streams.dashboard.pages.cameras import NEAR_MS, on_picture
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

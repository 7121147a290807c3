"""What is drawn over the picture of an alert."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from streams.dashboard.pages.detail import path_of
from streams.schemas import Alert
from tests.dashboard import an_object


def with_path(path: str) -> Alert:
    alert = an_object(1)
    return replace(alert, detail={**alert.detail, "path": path})


def test_the_way_of_an_object_is_a_line_over_the_picture() -> None:
    drawn = path_of(with_path("0.1,0.9 0.25,0.805 1,0"))
    assert 'points="10.0,90.0 25.0,80.5 100.0,0.0"' in drawn


@pytest.mark.parametrize(
    "path",
    ["", "0.5,0.5", '"><script>alert(1)</script>', "nan,nan inf,1", "0.1,0.2x 0.3,0.4", "-1,2 3,4"],
)
def test_nothing_is_drawn_where_there_is_no_way(path: str) -> None:
    assert path_of(with_path(path)) == ""


def test_an_alert_without_a_way_has_none() -> None:
    assert path_of(an_object(1)) == ""

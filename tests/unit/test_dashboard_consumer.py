"""What the view takes in of the topics, and from where on."""

from __future__ import annotations

from msgspec.structs import replace

from streams.dashboard.view.consumer import sorted_out
from tests.dashboard import a_fraud, an_object

OLDEST = 1_000


def test_of_no_alerts_none_are_taken_in() -> None:
    assert sorted_out([], OLDEST) == ([], [])


def test_what_is_old_is_taken_in_while_it_goes_on_and_its_end_only_ends_it() -> None:
    begun, going_on, young, old_fraud = (
        replace(one, processed_at=at)
        for one, at in (
            (an_object(1), 10),
            (an_object(2), 10),
            (an_object(3, 1, status="end"), OLDEST),
            (a_fraud(4), 10),
        )
    )
    ended = replace(an_object(1, 1, status="end"), processed_at=20)

    assert sorted_out([begun, going_on, young, old_fraud], OLDEST) == ([begun, going_on, young], [])
    # The end may come with a later fetch, or with the same.
    assert sorted_out([ended], OLDEST) == ([], [ended])
    assert sorted_out([begun, going_on, ended], OLDEST) == ([going_on], [ended])

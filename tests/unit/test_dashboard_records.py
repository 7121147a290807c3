"""What the view keeps of what people did."""

from __future__ import annotations

from streams.dashboard.view.records import Suppression


def test_of_two_lifts_the_first_counts_in_whatever_order_they_come() -> None:
    made = Suppression("s", "object", "yard", 10, 99)
    for lifted in (made.lifted(20).lifted(30), made.lifted(30).lifted(20)):
        assert lifted.covers("object", "yard", 19)
        assert not lifted.covers("object", "yard", 20)
        assert not lifted.covers("object", "yard", 25)

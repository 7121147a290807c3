"""What the pictures of the handbook show is of one piece."""

from __future__ import annotations

from msgspec.structs import replace

from tests.dashboard import a_fraud
from tests.evidence import of_whole_cards


def test_of_each_card_all_alerts_are_chosen_or_none() -> None:
    cards = ["a", "b", "a", "c", "a", "d"]
    alerts = [replace(a_fraud(n, card=card), event_time=n) for n, card in enumerate(cards)]
    assert of_whole_cards([], 0) == []
    assert [alert.entity for alert in of_whole_cards(alerts, 4)] == ["a", "a", "a", "d"]
    assert [alert.entity for alert in of_whole_cards(alerts, 3)] == ["b", "c", "d"]

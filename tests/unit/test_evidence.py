"""What the pictures of the handbook show is of one piece."""

from __future__ import annotations

from msgspec.structs import replace

from tests.dashboard import a_fraud
from tests.evidence import of_whole_cards


def test_of_each_card_all_alerts_are_chosen_or_none() -> None:
    alerts = [replace(a_fraud(n, card=card), event_time=n) for n, card in enumerate("abacddddef")]
    assert of_whole_cards([], 0) == []
    # All of d would be too many of one card.
    assert "".join(alert.entity for alert in of_whole_cards(alerts, 6)) == "abacef"
    # One for which less speaks comes last.
    less = [replace(one, reasons=one.reasons[:1]) if one.entity == "b" else one for one in alerts]
    assert "".join(alert.entity for alert in of_whole_cards(less, 3)) == "cef"

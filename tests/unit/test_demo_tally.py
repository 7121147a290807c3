"""Alerts and labels joined by transaction, in whatever order they come."""

from __future__ import annotations

import msgspec

from streams.demo.tally import Tally
from streams.schemas import Alert, ModelRef, Source, TransactionLabel


def alert(tx_id: str) -> Alert:
    return Alert(
        id=f"transactions:0:{tx_id}:fraud",
        revision=0,
        event_id=f"transactions:0:{tx_id}:fraud:0",
        kind="fraud",
        status="new",
        severity="high",
        score=0.9,
        threshold=0.5,
        entity="card",
        started_at=0,
        updated_at=0,
        event_time=0,
        processed_at=0,
        source=Source("transactions", 0, 0),
        model=ModelRef("fraud", "1", ""),
        detail={"tx_id": tx_id},
    )


def label(tx_id: str, *, is_fraud: bool) -> TransactionLabel:
    return TransactionLabel(
        tx_id=tx_id,
        card_id="card",
        terminal_id="terminal",
        amount=1.0,
        event_time=0,
        labelled_at=1,
        is_fraud=is_fraud,
        source="simulator",
    )


def test_nothing_seen_is_zero_everywhere() -> None:
    tally = Tally()

    assert (tally.alerts, tally.labels, tally.precision, tally.recall) == (0, 0, 0.0, 0.0)


def test_only_alerts_with_a_label_count_for_precision() -> None:
    tally = Tally()
    for tx_id in "abcd":
        assert tally.alert(alert(tx_id))
    tally.label(label("a", is_fraud=True))
    tally.label(label("b", is_fraud=True))
    tally.label(label("c", is_fraud=False))
    tally.label(label("missed", is_fraud=True))

    assert (tally.alerts, tally.confirmed, tally.dismissed) == (4, 2, 1)
    assert tally.precision == 2 / 3
    assert (tally.frauds_seen, tally.recall) == (3, 2 / 3)
    assert [tally.verdict(alert(tx_id)) for tx_id in "acd"] == [True, False, None]


def test_a_label_may_come_before_its_alert() -> None:
    tally = Tally()
    tally.label(label("a", is_fraud=True))
    tally.alert(alert("a"))

    assert tally.confirmed == 1


def test_an_alert_that_was_sent_twice_counts_once() -> None:
    tally = Tally()
    tally.alert(alert("a"))
    assert not tally.alert(alert("a"))
    tally.label(label("a", is_fraud=True))
    assert not tally.alert(alert("a"))

    assert (tally.alerts, tally.confirmed) == (1, 1)


# -- cameras --------------------------------------------------------------------------------------
def thing(name: str, revision: int, status: str) -> Alert:
    return msgspec.structs.replace(
        alert("t"), id=name, revision=revision, status=status, kind="object"
    )


def test_one_thing_counts_once_and_goes_on_until_its_end() -> None:
    tally = Tally()
    assert tally.object_alert(thing("a", 0, "new"))
    assert tally.object_alert(thing("b", 0, "new"))
    assert tally.object_alert(thing("a", 1, "update"))
    assert not tally.object_alert(thing("a", 0, "new"))  # sent again
    assert (tally.things, sorted(tally.ongoing)) == (2, ["a", "b"])
    assert tally.object_alert(thing("a", 2, "end"))
    assert not tally.object_alert(thing("a", 1, "update"))
    assert (tally.things, sorted(tally.ongoing)) == (2, ["b"])

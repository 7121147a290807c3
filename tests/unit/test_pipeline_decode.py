"""The first fate of a record: every bad input has a reason, and the rest of the batch goes on."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decode import EMPTY, Decoded, LabelRules, TransactionRules, decode
from streams.schemas import (
    DeadLetter,
    Transaction,
    TransactionLabel,
    decode_label,
    decode_transaction,
)
from tests.fakes.records import FakeRecord, batch_of, now_ms, payment, verdict

DAY_MS = 86_400_000
NOW = now_ms()
RULES = TransactionRules(
    currency="EUR",
    rates={"USD": 0.5, "XXX": 1e308},
    max_amount=1e6,
    earliest=946_684_800_000,
    max_future_ms=DAY_MS,
)
LABELS = LabelRules(horizon_days=30, max_future_ms=DAY_MS)
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000

MALFORMED: dict[str, tuple[bytes | None, str]] = {
    "broken JSON": (payment()[:-1], "truncated"),
    "not an object": (b"[1, 2]", "Expected `object`"),
    "two values": (payment() + payment(), "trailing characters"),
    "an empty value": (b"", EMPTY),
    "a null value": (None, EMPTY),
    "the word null": (b"null", "Expected `object`"),
    "a missing field": (payment().replace(b'"card_id"', b'"card"'), "card_id"),
    "a wrong type": (payment(amount="12.50"), r"Expected `float`, got `str` - at `\$.amount`"),
    "a boolean amount": (payment(amount=True), r"\$.amount"),
    "a null amount": (payment(amount=None), r"\$.amount"),
    "an empty id": (payment(card_id=""), r"\$.card_id"),
    "a giant id": (payment(tx_id="x" * 129), r"\$.tx_id"),
    "NaN": (payment(amount=float("nan")), "malformed"),
    "Infinity": (payment(amount=float("inf")), "malformed"),
    "minus Infinity": (payment(amount=float("-inf")), "malformed"),
    "1e309": (payment().replace(b"12.5", b"1e309"), "out of range"),
    "a negative amount": (payment(amount=-1), r">= 0.*\$.amount"),
    "a time before the epoch": (payment(event_time=-1), r"\$.event_time"),
    "a time beyond an int64": (payment(event_time=2**70), r"\$.event_time"),
    "a time with a fraction": (payment(event_time=NOW + 0.5), r"\$.event_time"),
    "a giant value": (b'{"tx_id": "' + b"x" * (10 * 1024 * 1024), "truncated"),
    "a lone surrogate": (payment().replace(b'"c1"', b'"\\ud800"'), ""),
    "deeply nested JSON": (DEEP, ""),
    "nested attributes": (payment(attributes={"a": {"b": 1}}), r"\$.attributes"),
    "invalid UTF-8": (payment().replace(b'"c1"', b'"c\xff\xfe"'), "utf-8"),
    "UTF-16": (payment().decode().encode("utf-16"), ""),
    "binary": (bytes(range(256)), "malformed"),
    "an amount that no column holds": (payment(amount=1e39), "Expected `float` <= 1e"),
}

ABSURD: dict[str, tuple[bytes, str]] = {
    "an absurd amount": (payment(amount=1e29), "above the limit of 1000000.0"),
    "an amount that its rate makes infinite": (
        payment(amount=1e5, currency="XXX"),
        "100000.0 XXX is above the limit",
    ),
    "a far past": (payment(event_time=1), "before the earliest allowed, 946684800000"),
    "a far future": (payment(event_time=NOW + 10 * DAY_MS), "lies in the future"),
    "an unknown currency": (payment(currency="CHF"), "no rate for currency 'CHF'"),
}


def checked(values: list[bytes | None]) -> tuple[Decoded[Transaction], list[float], list[int]]:
    decoded, amount, event_time = RULES.check(decode(batch_of(values), decode_transaction), NOW)
    assert len(decoded.items) == len(decoded.index) == len(amount) == len(event_time)
    assert len(decoded.items) + len(decoded.rejected) == len(values)
    return decoded, amount.tolist(), event_time.tolist()


def test_an_empty_batch_has_neither_good_nor_bad_records() -> None:
    decoded, amount, event_time = checked([])

    assert (decoded.items, decoded.rejected, amount, event_time) == ([], [], [], [])
    assert decoded.index.dtype == np.int64


@pytest.mark.parametrize("bad", [*MALFORMED, *ABSURD])
def test_a_bad_record_is_rejected_with_its_reason_and_the_others_go_on(bad: str) -> None:
    value, reason = {**MALFORMED, **ABSURD}[bad]
    good = [payment(tx_id=str(i)) for i in range(3)]

    decoded, amount, _ = checked([good[0], value, good[1], value, good[2]])

    assert [item.tx_id for item in decoded.items] == ["0", "1", "2"]
    assert decoded.index.tolist() == [0, 2, 4]
    assert amount == [12.5] * 3
    assert sorted(rejected.index for rejected in decoded.rejected) == [1, 3]
    for rejected in decoded.rejected:
        assert len(rejected.reason) < 300
        rejected.reason.encode()  # it goes into a header
    assert re.search(reason, decoded.rejected[0].reason)


def test_a_batch_of_bad_records_only_leaves_nothing_to_score() -> None:
    decoded, _, _ = checked([value for value, _ in {**MALFORMED, **ABSURD}.values()])

    assert decoded.items == []
    assert len(decoded.rejected) == len(MALFORMED) + len(ABSURD)


def test_unknown_fields_duplicates_and_a_zero_amount_are_accepted() -> None:
    decoded, amount, _ = checked(
        [payment(merchant={"deep": [1]}), payment(), payment(), payment(amount=0)]
    )

    assert len(decoded.items) == 4
    assert amount == [12.5, 12.5, 12.5, 0.0]


def test_another_currency_is_converted_and_the_limit_is_on_what_comes_out() -> None:
    decoded, amount, _ = checked(
        [payment(currency="USD", amount=10), payment(currency="USD", amount=1.5e6), payment()]
    )

    assert amount == [5.0, 750_000.0, 12.5]
    assert decoded.items[0].amount == 10


def test_the_limits_themselves_are_accepted() -> None:
    decoded, _, event_time = checked(
        [
            payment(amount=1e6),
            payment(event_time=946_684_800_000),
            payment(event_time=NOW + DAY_MS),
        ]
    )

    assert decoded.rejected == []
    assert event_time[1:] == [946_684_800_000, NOW + DAY_MS]


# -- labels ---------------------------------------------------------------------------------------
OBJECT = json.dumps(
    {
        "kind": "object",
        "alert_id": "a",
        "camera_id": "k",
        "class": "person",
        "labelled_at": NOW,
        "is_true": True,
        "source": "analyst",
    }
).encode()

BAD_LABELS: dict[str, tuple[bytes | None, str]] = {
    "after the horizon": (verdict(event_time=NOW - 31 * DAY_MS), "31 days old, the horizon is 30"),
    "from the future": (
        verdict(event_time=NOW, labelled_at=NOW + 2 * DAY_MS),
        "lies in the future",
    ),
    "before its transaction": (verdict(labelled_at=NOW - 3600_000), "is before event_time"),
    "of no kind": (verdict(kind="camera"), "kind"),
    "without a kind": (verdict().replace(b'"kind"', b'"sort"'), "kind"),
    "of an unknown source": (verdict(source="rumour"), r"\$.source"),
    "with a verdict in words": (verdict(is_fraud="yes"), r"\$.is_fraud"),
    "without a verdict": (verdict().replace(b"is_fraud", b"fraud"), "is_fraud"),
    "of a null value": (None, EMPTY),
    "of a broken object": (OBJECT.replace(b'"class"', b'"kind_of"'), "class"),
}


def labelled(values: list[bytes | None]) -> Decoded[TransactionLabel]:
    return LABELS.check(decode(batch_of(values), decode_label), NOW)


def test_an_empty_batch_has_no_labels() -> None:
    assert labelled([]).items == []


@pytest.mark.parametrize("bad", BAD_LABELS)
def test_a_bad_label_is_rejected_with_its_reason_and_the_others_go_on(bad: str) -> None:
    value, reason = BAD_LABELS[bad]
    decoded = labelled([verdict(tx_id="1"), value, verdict(tx_id="2")])

    assert [item.tx_id for item in decoded.items] == ["1", "2"]
    assert decoded.index.tolist() == [0, 2]
    assert [rejected.index for rejected in decoded.rejected] == [1]
    assert re.search(reason, decoded.rejected[0].reason)


def test_a_withdrawn_verdict_is_a_label() -> None:
    (label,) = labelled([verdict(is_fraud=None)]).items
    assert label.is_fraud is None


def test_labels_on_objects_pass_by() -> None:
    decoded = labelled([OBJECT, verdict(), OBJECT, None])

    assert decoded.index.tolist() == [1]
    assert [rejected.index for rejected in decoded.rejected] == [3]
    assert labelled([OBJECT]).items == []


# -- dead letters ---------------------------------------------------------------------------------
def test_a_dead_letter_has_the_original_bytes_key_and_headers_and_says_where_and_why() -> None:
    batch = batch_of([b"{", payment()], partition=3, first=70)
    batch.records[0] = FakeRecord(70, b"{", b"key", (("trace", b"\x00\xff"), ("trace", None)))
    decoded = decode(batch, decode_transaction)

    outcome = DeadLetters("tx", "tx.dead").outcome(batch, decoded.rejected)

    (message,) = outcome.messages
    assert outcome.dead_letters == 1
    assert (message.topic, message.key, message.value) == ("tx.dead", b"key", b"{")
    letter = DeadLetter.from_record(message.key, message.value, tuple(message.headers))
    assert letter.headers == (("trace", b"\x00\xff"), ("trace", None))
    assert (letter.topic, letter.partition, letter.offset, letter.step) == ("tx", 3, 70, "decode")
    assert "truncated" in letter.reason


def test_no_bad_records_make_no_dead_letters() -> None:
    outcome = DeadLetters("tx", "tx.dead").outcome(batch_of([]), [])
    assert (outcome.messages, outcome.dead_letters) == ([], 0)


def test_a_rebuild_buries_nothing_twice() -> None:
    batch = batch_of([b"{"] * 4, first=10, quiet_below={0: 12})
    outcome = DeadLetters("tx", "tx.dead").outcome(
        batch, decode(batch, decode_transaction).rejected
    )

    offsets = [dict(message.headers)["tocsin-offset"] for message in outcome.messages]
    assert offsets == [b"12", b"13"]


def test_what_the_stored_state_covers_is_not_buried_again_whatever_it_was() -> None:
    batch = replace(batch_of([b"{"] * 4, first=10), done_below={0: 13, 1: 99})
    outcome = DeadLetters("tx", "tx.dead").outcome(
        batch, decode(batch, decode_transaction).rejected
    )

    offsets = [dict(message.headers)["tocsin-offset"] for message in outcome.messages]
    assert offsets == [b"13"]


def test_a_letter_that_is_buried_again_carries_its_last_reason_once() -> None:
    dead = DeadLetters("tx", "tx.dead")
    batch = batch_of([b"{"])
    (first,) = dead.outcome(batch, decode(batch, decode_transaction).rejected).messages
    batch.records[0] = FakeRecord(9, first.value, first.key, first.headers)
    (second,) = dead.outcome(batch, decode(batch, decode_transaction).rejected).messages

    names = [name for name, _ in second.headers]
    assert len(names) == len(set(names))
    assert dict(second.headers)["tocsin-offset"] == b"9"

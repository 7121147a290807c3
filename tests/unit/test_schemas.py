"""The records on the wire: what decodes, what does not, what survives the way there and back."""

from __future__ import annotations

import json

import msgspec
import pytest

from streams.schemas import (
    DEAD_LETTER_HEADERS,
    DECODE_ERRORS,
    DeadLetter,
    ObjectLabel,
    Score,
    Transaction,
    TransactionLabel,
    decode_label,
    decode_score,
    decode_transaction,
    encode,
)

PAYMENT = {
    "tx_id": "17",
    "card_id": "596",
    "terminal_id": "3156",
    "amount": 57.16,
    "currency": "EUR",
    "event_time": 1522540831000,
}


def payment(**changes: object) -> bytes:
    return json.dumps({**PAYMENT, **changes}).encode()


def test_a_payment_decodes_and_its_attributes_are_free() -> None:
    found = decode_transaction(payment(attributes={"channel": "web", "retry": 2, "mcc": None}))

    assert found.amount == 57.16
    assert found.attributes == {"channel": "web", "retry": 2, "mcc": None}


def test_unknown_fields_are_ignored() -> None:
    assert decode_transaction(payment(merchant={"deep": [1, 2]})) == decode_transaction(payment())


@pytest.mark.parametrize("field", sorted(PAYMENT))
def test_a_payment_without_a_field_does_not_decode(field: str) -> None:
    short = {name: value for name, value in PAYMENT.items() if name != field}

    with pytest.raises(msgspec.ValidationError, match=field):
        decode_transaction(json.dumps(short))


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": -0.01},
        {"amount": "57.16"},
        {"amount": None},
        {"card_id": ""},
        {"card_id": 596},
        {"card_id": "x" * 129},
        {"currency": "EURO"},
        {"event_time": -1},
        {"event_time": 2**63},
        {"event_time": 1.5},
        {"event_time": "2018-04-01"},
        {"attributes": {"nested": {}}},
    ],
)
def test_a_payment_out_of_range_does_not_decode(changes: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_transaction(payment(**changes))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        payment().replace(b"57.16", b"NaN"),
        payment().replace(b"57.16", b"1e999"),
        payment().replace(b'"596"', b'"\\ud800"'),
        payment().replace(b'"596"', b'"\xff"'),
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_whatever_the_bytes_only_the_named_errors_come_out(raw: bytes) -> None:
    with pytest.raises(DECODE_ERRORS):
        decode_transaction(raw)


@pytest.mark.parametrize("verdict", [True, False, None])
def test_both_kinds_of_label_survive_the_wire(verdict: bool | None) -> None:
    labels = [
        TransactionLabel("17", "596", "3156", 57.16, 1000, 2000, verdict, "chargeback"),
        ObjectLabel("frames:0:7:1:door", "yard", "person", 2000, verdict, "analyst"),
    ]

    assert [decode_label(encode(label)) for label in labels] == labels
    assert [json.loads(encode(label))["kind"] for label in labels] == ["transaction", "object"]


def test_the_class_of_an_object_has_its_plain_name_on_the_wire() -> None:
    label = ObjectLabel("a", "yard", "person", 2000, True, "analyst")

    assert json.loads(encode(label))["class"] == "person"


def test_a_label_of_another_kind_or_source_does_not_decode() -> None:
    label = json.loads(encode(TransactionLabel("1", "2", "3", 4.0, 5, 6, True, "settled")))

    for changes in ({"kind": "rumour"}, {"source": "rumour"}):
        with pytest.raises(msgspec.ValidationError):
            decode_label(json.dumps({**label, **changes}))


def test_a_score_outside_zero_to_one_does_not_decode() -> None:
    score = encode(Score("1", "2", 1.5, 3, "fraud", "1"))

    with pytest.raises(msgspec.ValidationError):
        decode_score(score)


def buried(**changes: object) -> DeadLetter:
    letter = DeadLetter(
        value=b"\xff",
        key=b"596",
        headers=(("traceparent", b"00-1"), ("empty", None)),
        reason="amount is missing: é",
        step="decode",
        topic="transactions",
        partition=3,
        offset=41,
        timestamp=1522540831000,
    )
    return msgspec.structs.replace(letter, **changes)


@pytest.mark.parametrize("value", [b"\xff", b"", None])
def test_a_dead_letter_keeps_the_original_bytes_and_headers(value: bytes | None) -> None:
    letter = buried(value=value)

    found = DeadLetter.from_record(letter.key, letter.value, tuple(letter.to_headers()))

    assert found == letter


def test_a_record_buried_twice_tells_of_the_second_time_only() -> None:
    first = buried()
    second = buried(headers=tuple(first.to_headers()), step="publish", offset=99)

    names = [name for name, _ in second.to_headers()]

    assert len(names) == len(first.headers) + len(DEAD_LETTER_HEADERS)
    found = DeadLetter.from_record(b"596", b"\xff", tuple(second.to_headers()))
    assert (found.step, found.offset, found.headers) == ("publish", 99, first.headers)


def test_a_record_without_our_headers_is_no_dead_letter() -> None:
    with pytest.raises(ValueError, match="tocsin-reason is missing"):
        DeadLetter.from_record(b"596", b"{}", (("traceparent", b"00-1"),))


def test_a_decoded_payment_is_not_tracked_by_the_garbage_collector() -> None:
    import gc

    assert not gc.is_tracked(decode_transaction(payment()))
    assert isinstance(decode_transaction(payment()), Transaction)

"""Verdicts of people to records of the labels topic."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from streams.alerts.envelope import build_fraud_alert
from streams.errors import SettingsError, TocsinError
from streams.producers.verdicts import Statement, checked, label_of, read_outcomes
from streams.schemas import (
    Alert,
    ModelRef,
    ObjectLabel,
    Source,
    Transaction,
    TransactionLabel,
    decode_label,
)

DAY_MS = 86_400_000
T0 = 1_700_000_000_000
MODEL = ModelRef("fraud", "1", "0" * 64)


def fraud_alert(offset: int = 7) -> Alert:
    return build_fraud_alert(
        Transaction("t1", "c1", "m1", 12.5, "EUR", T0),
        source=Source("transactions", 0, offset),
        score=0.9,
        threshold=0.8,
        model=MODEL,
        processed_at=T0 + 5,
    )


def object_alert() -> Alert:
    return msgspec.structs.replace(
        fraud_alert(), kind="object", entity="yard", id="a:1", detail={"class": "person"}
    )


@pytest.mark.parametrize("outcome", [True, False, None])
def test_a_verdict_on_a_fraud_alert_names_its_transaction(outcome: bool | None) -> None:
    label = label_of(fraud_alert(), outcome, Statement(T0 + DAY_MS, "ann", "called the customer"))
    ((key, value),) = checked([label], 180)

    assert key == b"m1"
    assert decode_label(value) == TransactionLabel(
        "t1",
        "c1",
        "m1",
        12.5,
        T0,
        T0 + DAY_MS,
        outcome,
        "analyst",
        "ann",
        "called the customer",
    )


def test_a_verdict_on_an_object_alert_goes_to_its_camera() -> None:
    ((key, value),) = checked([label_of(object_alert(), True, Statement(T0))], 180)
    assert key == b"yard"
    assert decode_label(value) == ObjectLabel("a:1", "yard", "person", T0, True, "analyst")
    assert b"note" not in value  # what is empty is not sent


@pytest.mark.parametrize(
    ("alert", "lacking"),
    [(fraud_alert(), "terminal_id"), (object_alert(), "class")],
    ids=["fraud", "object"],
)
def test_an_alert_that_lacks_what_a_label_needs_is_named(alert: Alert, lacking: str) -> None:
    detail = {name: value for name, value in alert.detail.items() if name != lacking}
    bare = msgspec.structs.replace(alert, detail=detail)
    with pytest.raises(TocsinError, match=f"has no {lacking} in its detail"):
        label_of(bare, True, Statement(T0))


@pytest.mark.parametrize(
    ("at", "message"),
    [(T0 - 1, "happened after the verdict"), (T0 + 181 * DAY_MS, "is 181 days old")],
)
def test_what_the_labels_agent_would_bury_is_not_sent(at: int, message: str) -> None:
    with pytest.raises(TocsinError, match=message):
        checked([label_of(fraud_alert(), True, Statement(at))], 180)


def test_a_note_that_is_too_long_is_refused() -> None:
    with pytest.raises(TocsinError, match="this is no label"):
        checked([label_of(fraud_alert(), True, Statement(T0, note="x" * 2001))], 180)


def test_no_labels_are_no_records() -> None:
    assert checked([], 180) == []


def test_a_file_of_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_text("id,verdict\na:1,fraud\n\n b:2 , Genuine \nc:3,withdraw\na:1,genuine\n")
    assert read_outcomes(path) == {"a:1": False, "b:2": False, "c:3": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,fraud\nb,perhaps\n", r"verdicts\.csv:2: write ID,VERDICT .*fraud, genuine or withdraw"),
        ("a\n", r"verdicts\.csv:1: write ID,VERDICT"),
        (",fraud\n", r"verdicts\.csv:1: write ID,VERDICT"),
    ],
)
def test_a_line_that_is_no_verdict_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "verdicts.csv"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_outcomes(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*missing\.csv"):
        read_outcomes(tmp_path / "missing.csv")

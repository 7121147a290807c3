"""The alert envelope: identity, severity, CloudEvents headers."""

from __future__ import annotations

import pytest

from streams.alerts.envelope import (
    CLOUD_EVENT_HEADERS,
    build_fraud_alert,
    cloud_events_headers,
    severity_of,
)
from streams.alerts.explanation import Explanation
from streams.schemas import Alert, ModelRef, Reason, Source, Transaction, decode_alert, encode

PAYMENT = Transaction("17", "596", "3156", 57.16, "EUR", 1522540831000)


def alert(score: float = 0.9) -> Alert:
    return build_fraud_alert(
        PAYMENT,
        source=Source("transactions", 2, 41),
        score=score,
        threshold=0.4,
        model=ModelRef("fraud", "1", "abc"),
        processed_at=1522540831123,
        explanation=Explanation(
            [Reason("terminal", "3 frauds at this terminal", 0.4, {"frauds": 3})], 0.97
        ),
    )


def test_an_alert_survives_the_wire() -> None:
    assert decode_alert(encode(alert())) == alert()


def test_the_same_event_gives_the_same_ids_again() -> None:
    first, again = alert(0.9), alert(0.9000001)

    assert first.id == again.id == "transactions:2:41:fraud"
    assert first.event_id == again.event_id == "transactions:2:41:fraud:0"


def test_a_fraud_alert_is_complete_from_the_start() -> None:
    found = alert()

    assert (found.status, found.revision) == ("new", 0)
    assert found.started_at == found.updated_at == found.ended_at == found.event_time
    assert found.entity == found.detail["card_id"] == "596"
    assert found.detail["novelty"] == 0.97
    assert [reason.code for reason in found.reasons] == ["terminal"]


@pytest.mark.parametrize(
    ("score", "threshold", "severity"),
    [
        (0.4, 0.4, "low"),
        (0.54, 0.4, "low"),
        (0.56, 0.4, "medium"),
        (0.71, 0.4, "high"),
        (0.89, 0.4, "critical"),
        (1.0, 0.4, "critical"),
        (1.0, 1.0, "critical"),
        (0.0, 0.0, "low"),
    ],
)
def test_severity_grows_from_the_threshold_to_certainty(
    score: float, threshold: float, severity: str
) -> None:
    assert severity_of(score, threshold) == severity


def test_the_headers_are_the_cloudevents_attributes() -> None:
    headers = dict(cloud_events_headers(alert()))

    assert tuple(headers) == CLOUD_EVENT_HEADERS
    assert headers["ce_specversion"] == b"1.0"
    assert headers["ce_id"] == b"transactions:2:41:fraud:0"
    assert headers["ce_type"] == b"tocsin.alert.fraud.new"
    assert headers["ce_time"] == b"2018-04-01T00:00:31.000Z"
    assert headers["ce_subject"] == b"596"
    assert headers["content-type"] == b"application/json"

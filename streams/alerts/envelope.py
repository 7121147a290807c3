"""The alert envelope: its identity, its severity, and its CloudEvents headers.

Everything here is a pure function of its arguments: a replay after a crash builds the same ids.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from streams.schemas import Alert, ModelRef, Source, Transaction

if TYPE_CHECKING:  # it takes torch, which takes seconds to import
    from streams.alerts.explanation import Explanation

Severity = Literal["low", "medium", "high", "critical"]

FRAUD_DETECTOR: Final = "fraud"

CLOUD_EVENT_HEADERS: Final = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "content-type",
)
"""The headers of an alert, in the order of `cloud_events_headers`."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

# Share of the way from the threshold to certainty at which the next severity begins.
_MEDIUM, _HIGH, _CRITICAL = 0.25, 0.5, 0.8


def alert_id(source: Source, detector: str) -> str:
    """Name the thing that happens: ``topic:partition:offset:detector``."""
    return f"{source.topic}:{source.partition}:{source.offset}:{detector}"


def event_id(alert: str, revision: int) -> str:
    """Name one revision of the alert with id `alert`: ``id:revision``, also its ``ce_id``."""
    return f"{alert}:{revision}"


def severity_of(score: float, threshold: float) -> Severity:
    """Grade a score by how far it lies from the threshold (low) towards 1 (critical)."""
    headroom = 1.0 - threshold
    share = (score - threshold) / headroom if headroom > 0 else 1.0
    if share >= _CRITICAL:
        return "critical"
    if share >= _HIGH:
        return "high"
    return "medium" if share >= _MEDIUM else "low"


def build_fraud_alert(
    transaction: Transaction,
    *,
    source: Source,
    score: float,
    threshold: float,
    model: ModelRef,
    processed_at: int,
    explanation: Explanation | None = None,
    rebuilding: bool = False,
    traceparent: str | None = None,
) -> Alert:
    """Build the alert on one transaction: complete from the start, so revision 0 and no more.

    `source` is the transaction's place in Kafka, `processed_at` the time now (ms, epoch);
    `score` and `threshold` lie in [0, 1]; `traceparent` is what the transaction came with.
    """
    name = alert_id(source, FRAUD_DETECTOR)
    return Alert(
        id=name,
        revision=0,
        event_id=event_id(name, 0),
        kind="fraud",
        status="new",
        severity=severity_of(score, threshold),
        score=score,
        threshold=threshold,
        entity=transaction.card_id,
        started_at=transaction.event_time,
        updated_at=transaction.event_time,
        ended_at=transaction.event_time,
        event_time=transaction.event_time,
        processed_at=processed_at,
        source=source,
        model=model,
        reasons=[] if explanation is None else explanation.reasons,
        rebuilding=rebuilding,
        detail={
            "tx_id": transaction.tx_id,
            "card_id": transaction.card_id,
            "terminal_id": transaction.terminal_id,
            "amount": transaction.amount,
            "currency": transaction.currency,
            **({} if explanation is None else {"novelty": explanation.novelty}),
        },
        traceparent=traceparent,
    )


def cloud_events_headers(alert: Alert) -> list[tuple[str, bytes]]:
    """Give the CloudEvents 1.0 attributes as headers, binary mode of the Kafka binding.

    ``ce_time`` is when it happened (`updated_at`), ``ce_subject`` the entity.
    """
    happened = _EPOCH + timedelta(milliseconds=alert.updated_at)
    values = (
        "1.0",
        alert.event_id,
        f"/tocsin/{alert.source.topic}",
        f"tocsin.alert.{alert.kind}.{alert.status}",
        happened.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        alert.entity,
        "application/json",
    )
    return [(name, value.encode()) for name, value in zip(CLOUD_EVENT_HEADERS, values, strict=True)]

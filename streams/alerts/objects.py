"""Object alerts: one thing that happens before a camera, from its `new` to its `end`.

The rules name a thing by rule and track, which may come again after its end; an alert's id adds the
frame that opened it, so it never does. What is open is part of the camera's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from models.vision.object_events import ObjectEvent, Track
from models.vision.rule_state import Finite
from streams.alerts.envelope import Severity, alert_id, event_id
from streams.schemas import Alert, ModelRef, Reason, Scalar, Source

BOX_FIELDS: Final = ("x1", "y1", "x2", "y2")
"""In an alert's `detail`: shares of the picture, so that they fit any size that it is shown at."""

Thing = tuple[str, int]
"""Rule and track, which name a thing while it goes on."""


class OpenAlert(Struct, frozen=True, array_like=True):
    """What the next message on a thing must know of the ones before."""

    rule: str
    tracker_id: int
    source: Source
    """The frame that opened it."""

    revision: int
    score: Finite
    severity: Severity
    snapshot: str | None = None
    why: Reason | None = None
    """What the first message said; None of an alert from before this was kept."""

    @property
    def id(self) -> str:
        """``topic:partition:offset:track:rule``."""
        return alert_id(self.source, f"{self.tracker_id}:{self.rule}")


class OpenAlerts:
    """The alerts of one camera that have not ended."""

    def __init__(self, alerts: Sequence[OpenAlert] = ()) -> None:
        self._open: dict[Thing, OpenAlert] = {(a.rule, a.tracker_id): a for a in alerts}

    def __len__(self) -> int:
        return len(self._open)

    def all(self) -> list[OpenAlert]:
        """Return those that are open, for the state."""
        return list(self._open.values())

    def advance(self, event: ObjectEvent, source: Source) -> OpenAlert | None:
        """Count an event in; None for one that continues nothing that we know.

        `source` is the frame of the event, which becomes the alert's if it is `new`.
        """
        if event.status != "new":
            return self.go_on(event)
        thing = event.rule, event.tracker_id
        severity, why = _severity(event), _reason(event)
        alert = OpenAlert(*thing, source, 0, event.confidence, severity, why=why)
        self._open[thing] = alert
        return alert

    def go_on(self, event: ObjectEvent) -> OpenAlert | None:
        """Count an event in that is not `new`, as `advance` does."""
        thing = event.rule, event.tracker_id
        before = self._open.get(thing)
        if before is None:
            return None
        after = replace(
            before, revision=before.revision + 1, score=max(before.score, event.confidence)
        )
        if event.status == "end":
            del self._open[thing]
        else:
            self._open[thing] = after
        return after

    def pictured(self, alert: OpenAlert, snapshot: str) -> OpenAlert:
        """Note where the picture of an open alert is."""
        after = replace(alert, snapshot=snapshot)
        self._open[alert.rule, alert.tracker_id] = after
        return after


def build_object_alert(
    alert: OpenAlert,
    event: ObjectEvent,
    *,
    camera_id: str,
    model: ModelRef,
    threshold: float,
    processed_at: int,
    traceparent: str | None = None,
) -> Alert:
    """Build the message on one event; an `end` says first why there was an alert at all.

    Args:
        alert: as `OpenAlerts.advance` gave it for the event.
        event: what the rules told.
        camera_id: the entity.
        model: the detector.
        threshold: confidence below which the detector's objects are not followed.
        processed_at: now, ms.
        traceparent: what the frame of the event came with.
    """
    why = [alert.why] if event.status == "end" and alert.why is not None else []
    detail: dict[str, Scalar] = {
        "camera_id": camera_id,
        "class": event.class_name,
        "rule": event.rule,
        "tracker_id": event.tracker_id,
        "track": event.track,
        "confidence": round(event.confidence, 4),
        **{name: round(at, 4) for name, at in zip(BOX_FIELDS, event.box, strict=True)},
    }
    if event.outline:
        detail["line" if event.kind == "cross" else "zone"] = event.place
        detail["outline"] = _points(event.outline)
    if len(event.path) > 1:
        detail["path"] = _points(event.path)
    if event.cause is not None:
        detail["cause"] = event.cause
    return Alert(
        id=alert.id,
        revision=alert.revision,
        event_id=event_id(alert.id, alert.revision),
        kind="object",
        status=event.status,
        severity=alert.severity,
        score=min(alert.score, 1.0),
        threshold=threshold,
        entity=camera_id,
        started_at=event.started_ms,
        updated_at=event.updated_ms,
        ended_at=event.ended_ms,
        event_time=event.updated_ms,
        processed_at=processed_at,
        source=alert.source,
        model=model,
        reasons=[*why, _reason(event)],
        snapshot=alert.snapshot,
        detail=detail,
        traceparent=traceparent,
    )


def _reason(event: ObjectEvent) -> Reason:
    code = "ended" if event.status == "end" else event.kind or ""
    return Reason(code, event.reason, event.confidence, {**event.evidence})


def _points(track: Track) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in track)


def end_of_lost(alert: Alert, processed_at: int) -> Alert:
    """Build the `end` of an alert of which nothing is known any more but its last message."""
    revision = alert.revision + 1
    text = "state lost: whether it still goes on is not known"
    return replace(
        alert,
        revision=revision,
        event_id=event_id(alert.id, revision),
        status="end",
        ended_at=alert.updated_at,
        processed_at=processed_at,
        reasons=[*alert.reasons, Reason("state_lost", text, 0.0)],
        detail={**alert.detail, "cause": "state lost"},
    )


_SEVERITIES: Final[Mapping[str | None, Severity]] = {"low": "low", "high": "high"}


def _severity(event: ObjectEvent) -> Severity:
    return _SEVERITIES.get(event.severity, "medium")

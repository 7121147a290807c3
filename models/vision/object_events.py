"""What the rules tell, and the words for it."""

from __future__ import annotations

from typing import Literal

import msgspec

from models.vision.rule_state import Box, Watch
from models.vision.rules_file import NOWHERE, Count, Cross, Enter, Left, Loiter, Rule, RuleBook
from models.vision.zones import Points

Status = Literal["new", "update", "end"]
Cause = Literal["left", "gone", "too long", "off schedule", "rule removed", "closed"]
Evidence = dict[str, float | int | str]
Track = tuple[tuple[float, float], ...]


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One message about a thing that happens.

    Attributes:
        rule: name of the rule; with `tracker_id` it names the event until its end.
        kind: of the rule: enter, cross, loiter, count, left; None where the rule is gone.
        severity: of the rule; None where the rule is gone.
        status: new, update or end.
        tracker_id: of the track that began it; 0 for a count.
        track: the track that is it now, which differs where the tracker took it up anew.
        class_id: place in the detector's list.
        class_name: of the object.
        confidence: of the detector, in [0, 1].
        box: x1, y1, x2, y2 in shares of the frame, where it was seen last.
        path: where its foot was until now, in shares of the frame; none of a count.
        place: name of the rule's zone or line; empty where it has none, or is gone.
        outline: corners of the zone or ends of the line, in shares of the frame.
        quality: of this frame as a picture of it, in [0, 1]; 0 at the end.
        started_ms: time of the frame of `new`.
        updated_ms: time of this frame.
        ended_ms: that of `end`, else None.
        cause: why it ended, else None.
        reason: one line for people.
        evidence: the numbers in it.
    """

    rule: str
    kind: str | None
    severity: str | None
    status: Status
    tracker_id: int
    track: int
    class_id: int
    class_name: str
    confidence: float
    box: Box
    path: Track = ()
    place: str = ""
    outline: Track = ()
    quality: float
    started_ms: int
    updated_ms: int
    ended_ms: int | None = None
    cause: Cause | None = None
    reason: str
    evidence: Evidence


def tell(
    book: RuleBook,
    rule: Rule,
    watch: Watch,
    status: Literal["new", "update"],
    *,
    class_name: str,
    quality: float,
    number: int,
    lasted_s: float,
    time_ms: int,
) -> ObjectEvent:
    """`new` or `update` of an open watch.

    Args:
        book: where the rule's zone or line is.
        rule: that it belongs to.
        watch: as it is after this frame.
        status: what to tell.
        class_name: of its class_id.
        quality: of this frame as a picture of it.
        number: of objects, for a count.
        lasted_s: since the condition began.
        time_ms: of this frame.
    """
    reason, evidence = _words(rule, watch, class_name, number, lasted_s)
    evidence["confidence"] = round(watch.confidence, 4)
    place, outline = book.drawn(rule)
    return ObjectEvent(
        rule=rule.name,
        kind=type(rule).__name__.lower(),
        severity=rule.severity,
        status=status,
        tracker_id=watch.tracker_id,
        track=watch.track,
        class_id=watch.class_id,
        class_name=class_name,
        confidence=watch.confidence,
        box=watch.box,
        path=_points(watch.path),
        place=place,
        outline=_corners(outline),
        quality=quality,
        started_ms=watch.started_ms,
        updated_ms=time_ms,
        reason=reason,
        evidence=evidence,
    )


def tell_end(
    book: RuleBook,
    name: str,
    rule: Rule | None,
    watch: Watch,
    cause: Cause,
    *,
    class_name: str,
    lasted_s: float,
    time_ms: int,
) -> ObjectEvent:
    """`end` of an open watch of the rule called `name`, which may be gone from the file."""
    place, outline = book.drawn(rule) if rule else ("", NOWHERE)
    return ObjectEvent(
        rule=name,
        kind=type(rule).__name__.lower() if rule else None,
        severity=rule.severity if rule else None,
        status="end",
        tracker_id=watch.tracker_id,
        track=watch.track,
        class_id=watch.class_id,
        class_name=class_name,
        confidence=watch.confidence,
        box=watch.box,
        path=_points(watch.path),
        place=place,
        outline=_corners(outline),
        quality=0.0,
        started_ms=watch.started_ms,
        updated_ms=time_ms,
        ended_ms=time_ms,
        cause=cause,
        reason=f"{class_name}: over after {lasted_s:.0f} s, {_CAUSES[cause]}",
        evidence={"lasted_s": round(lasted_s, 1)},
    )


def _corners(outline: Points) -> Track:
    return tuple((round(x, 4), round(y, 4)) for x, y in outline.tolist())


def _points(path: bytes) -> Track:
    shares = [round(at / 255, 3) for at in path]
    return tuple(zip(shares[::2], shares[1::2], strict=True))


_CAUSES: dict[Cause, str] = {
    "left": "it no longer applies",
    "gone": "not seen any more",
    "too long": "the rule's longest time",
    "off schedule": "the rule's schedule ended",
    "rule removed": "the rule was removed",
    "closed": "the camera is closed",
}


def _words(
    rule: Rule, watch: Watch, class_name: str, number: int, lasted_s: float
) -> tuple[str, Evidence]:
    """One line, and the numbers in it."""
    match rule:
        case Enter():
            return f"{class_name} entered {rule.zone}", {"zone": rule.zone}
        case Cross():
            direction = "right" if watch.side > 0 else "left"
            text = f"{class_name} crossed {rule.line} to the {direction}"
            return text, {"line": rule.line, "direction": direction}
        case Loiter():
            text = f"{class_name} in {rule.zone} for {lasted_s:.0f} s, limit {rule.seconds:g} s"
            return text, {
                "zone": rule.zone,
                "lasted_s": round(lasted_s, 1),
                "limit_s": rule.seconds,
            }
        case Count():
            where, what = rule.zone or "the picture", " or ".join(rule.classes)
            text = f"{number} x {what} in {where}, limit {rule.limit}"
            return text, {"zone": rule.zone, "count": number, "limit": rule.limit}
        case Left():
            text = f"{class_name} left alone for {lasted_s:.0f} s, limit {rule.seconds:g} s"
            return text, {"lasted_s": round(lasted_s, 1), "limit_s": rule.seconds}

"""How an alert is put into words, and when it was, in the zone of who looks."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from streams.dashboard.view.records import Decision, ViewedAlert
from streams.schemas import Alert

DECISIONS: Final[dict[Decision, str]] = {
    "undecided": "to decide",
    "confirmed": "confirmed",
    "dismissed": "dismissed",
}

DISMISSALS: Final = ("False alarm", "Known customer or visitor", "Duplicate", "Test", "Other")
"""Reasons to dismiss, in words; a person may write another."""


class Clock:
    """Writes times in one zone."""

    def __init__(self, zone: str = "UTC") -> None:
        try:
            self._zone: Any = ZoneInfo(zone)
        except (ValueError, OSError, KeyError):  # a browser may name one that we do not have
            self._zone = UTC

    def moment(self, ms: int) -> str:
        """Day and time."""
        return self._at(ms).strftime("%d %b %Y, %H:%M:%S")

    def time(self, ms: int) -> str:
        """The time of day."""
        return self._at(ms).strftime("%H:%M:%S")

    def _at(self, ms: int) -> datetime:
        return datetime.fromtimestamp(ms / 1000, self._zone)


def ago(ms: int, now_ms: int) -> str:
    """How long ago something was."""
    return f"{length(max(0, now_ms - ms))} ago"


def length(ms: int) -> str:
    """A length of time in its largest unit."""
    seconds = ms / 1000
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{math.floor(seconds / size)} {name}"
    return f"{math.floor(seconds)} s"


def headline(alert: Alert) -> str:
    """Say in one line why it was raised."""
    if not alert.reasons:
        return "Score above the threshold"
    text = alert.reasons[0].text
    if alert.status == "end" and len(alert.reasons) == 1:  # of before ends said why, too
        text = f"{place_of(alert)}: {text.partition(': ')[2] or text}"
    return text[:1].upper() + text[1:]


def value_of(alert: Alert) -> str:
    """What is at stake: the amount, or what was seen."""
    detail = alert.detail
    if alert.kind == "fraud":
        return f"{float(detail.get('amount') or 0):,.2f} {detail.get('currency') or ''}".strip()
    return str(detail.get("class") or "")


def address_of(alert: Alert) -> str:
    """Where its page is."""
    return f"/alerts/{quote(alert.id)}"


def place_of(alert: Alert) -> str:
    """Where it was: the terminal, or the rule."""
    return str(alert.detail.get("terminal_id" if alert.kind == "fraud" else "rule") or "")


def row_of(viewed: ViewedAlert) -> dict[str, Any]:
    """What the list shows of an alert."""
    alert = viewed.alert
    return {
        "id": alert.id,
        "opened": viewed.opened,
        "kind": alert.kind,
        "severity": alert.severity,
        "entity": alert.entity,
        "what": headline(alert),
        "value": value_of(alert),
        "score": round(alert.score, 3),
        "decision": viewed.decision,
        "open": viewed.is_open,
        "suppressed": viewed.suppressed,
    }

"""What of the alerts a list shows, as one chooses it, and as it stands in the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from streams.dashboard.view.query import Filters

KINDS: Final = {"": "All", "fraud": "Fraud", "object": "Objects"}
DECISIONS: Final = {
    "": "All",
    "undecided": "To decide",
    "confirmed": "Confirmed",
    "dismissed": "Dismissed",
}
SEVERITIES: Final = {
    "": "Severity",
    "critical": "Critical",
    "high": "High",
    "medium": "Medium",
    "low": "Low",
}
SPANS: Final = {0: "Any time", 15: "Last 15 min", 60: "Last hour", 1440: "Last day"}
"""Minutes until now."""

LONGEST_ENTITY: Final = 128
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Choice:
    """Empty and 0 stand for all; to begin with, a list shows what is still to be decided."""

    kind: str = ""
    decision: str = "undecided"
    severity: str = ""
    minutes: int = 0
    entity: str = ""
    going_on: bool = False
    suppressed: bool = False

    def filters(self, now: int) -> Filters:
        """Give the filters as of `now` (ms): a span of time goes on with the clock."""
        given: dict[str, Any] = {
            "kind": self.kind or None,
            "severity": self.severity or None,
            "decision": self.decision or None,
            "entity": self.entity or None,
        }
        return Filters(
            **given,
            open=True if self.going_on else None,
            suppressed=self.suppressed,
            since=now - self.minutes * 60_000 if self.minutes else None,
        )

    def address(self) -> str:
        """Write it as the list's address.

        A card's id is for no URL that a server sees or a proxy logs: it stands in the fragment,
        which no browser sends.
        """
        said = {
            "kind": self.kind,
            "decision": "" if self.decision == "undecided" else self.decision or _ALL,
            "severity": self.severity,
            "minutes": str(self.minutes or ""),
            "open": "1" if self.going_on else "",
            "suppressed": "1" if self.suppressed else "",
        }
        query = urlencode({name: value for name, value in said.items() if value})
        fragment = urlencode({"entity": self.entity}) if self.entity else ""
        return "/" + (query and f"?{query}") + (fragment and f"#{fragment}")


def choice_of(query: Mapping[str, str], fragment: str = "") -> Choice:
    """Read what `Choice.address` wrote; what it cannot have written is left out."""
    decision = query.get("decision", "undecided")
    minutes = query.get("minutes", "")
    entity = dict(parse_qsl(fragment[:4096])).get("entity", "")
    return Choice(
        kind=_one_of(query.get("kind", ""), KINDS, ""),
        decision=_one_of("" if decision == _ALL else decision, DECISIONS, "undecided"),
        severity=_one_of(query.get("severity", ""), SEVERITIES, ""),
        minutes=next((span for span in SPANS if str(span) == minutes), 0),
        entity=entity[:LONGEST_ENTITY].strip(),
        going_on=query.get("open") == "1",
        suppressed=query.get("suppressed") == "1",
    )


def _one_of(value: str, known: Mapping[str, str], otherwise: str) -> str:
    return value if value in known else otherwise

"""What the view holds about one alert, and in which indexes an alert stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from streams.schemas import Action, Alert, ObjectLabel, TransactionLabel

Decision = Literal["undecided", "confirmed", "dismissed"]

OUTCOMES: Final[dict[bool | None, Decision]] = {
    True: "confirmed",
    False: "dismissed",
    None: "undecided",
}


LONGEST_SUPPRESSION_MS: Final = 366 * 24 * 3_600_000


class Verdict(Struct, frozen=True, omit_defaults=True):
    """The last word on an alert; `at` is the label's `labelled_at` (ms)."""

    outcome: bool | None
    at: int
    by: str = ""
    note: str = ""
    source: str = ""


class Suppression(Struct, frozen=True, omit_defaults=True):
    """An entity whose alerts that open from `since` until `until` (ms) are hidden by default."""

    id: str
    kind: Literal["fraud", "object"]
    entity: str
    since: int
    until: int
    by: str = ""
    reason: str = ""
    lifted_at: int | None = None

    def covers(self, kind: str, entity: str, at: int) -> bool:
        """Whether an alert that opened at `at` is hidden by it."""
        end = self.until if self.lifted_at is None else min(self.until, self.lifted_at)
        return self.kind == kind and self.entity == entity and self.since <= at < end

    def lifted(self, at: int) -> Suppression:
        """End it at `at`; the first end counts, for what opened after it has been shown."""
        return replace(self, lifted_at=at if self.lifted_at is None else min(at, self.lifted_at))

    def is_active(self, now: int) -> bool:
        """Whether it hides what opens at `now`."""
        return self.covers(self.kind, self.entity, now)


class ViewedAlert(Struct, frozen=True):
    """An alert as the dashboard shows it.

    `opened` (ms) is when its first message was processed: its place in the list, for good.
    """

    alert: Alert
    opened: int
    verdict: Verdict | None
    actions: tuple[Action, ...]
    suppressed: bool

    @property
    def decision(self) -> Decision:
        """What was decided."""
        return OUTCOMES[self.verdict.outcome if self.verdict else None]

    @property
    def is_open(self) -> bool:
        """Whether what it is about still goes on."""
        return is_open(self.alert)


def is_open(alert: Alert) -> bool:
    """Whether what an alert is about still goes on."""
    return alert.ended_at is None and alert.status != "end"


def facets_of(alert: Alert) -> list[str]:
    """Name the indexes that an alert stands in, its decision's aside."""
    facets = [
        f"kind:{alert.kind}",
        f"severity:{alert.severity}",
        entity_facet(alert.kind, alert.entity),
    ]
    if alert.kind == "fraud" and (tx_id := alert.detail.get("tx_id")) is not None:
        facets.append(transaction_facet(str(tx_id)))
    if is_open(alert):
        facets.append("open")
    return facets


def entity_facet(kind: str, entity: str) -> str:
    """Name the index of an entity's alerts."""
    return f"entity:{kind}:{in_one_line(entity)}"


def transaction_facet(tx_id: str) -> str:
    """Name the index of the alerts on a transaction."""
    return f"tx:{in_one_line(tx_id)}"


def in_one_line(text: str) -> str:
    """Write a name so that it can stand in a list of lines, and no other is written so."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def decision_facet(outcome: bool | None) -> str:
    """Name the index of the alerts on which this was decided."""
    return f"decision:{OUTCOMES[outcome]}"


def verdict_of(label: TransactionLabel | ObjectLabel) -> Verdict:
    """Take the verdict out of a label."""
    outcome = label.is_fraud if isinstance(label, TransactionLabel) else label.is_true
    return Verdict(outcome, label.labelled_at, label.by, label.note, label.source)


def hides(suppressions: Iterable[Suppression], alert: Alert, opened: int) -> bool:
    """Whether one of `suppressions` covers an alert."""
    return any(one.covers(alert.kind, alert.entity, opened) for one in suppressions)


decode_verdict = msgspec.json.Decoder(Verdict).decode
decode_suppression = msgspec.json.Decoder(Suppression).decode

"""Verdicts of people: from an alert, or a transaction, and what was found to the record."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.errors import SettingsError, TocsinError
from streams.producers.sink import Record
from streams.reading import read_topic
from streams.schemas import (
    DECODE_ERRORS,
    Alert,
    Label,
    ObjectLabel,
    TransactionLabel,
    decode_alert,
    decode_label,
    encode,
)
from streams.settings import Settings

OUTCOMES: Final[Mapping[str, bool | None]] = {"fraud": True, "genuine": False, "withdraw": None}
"""What a person may say; for an alert on an object `fraud` reads as `it was one`."""

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Statement:
    """Who says it, when (ms, epoch), and a note."""

    at: int
    by: str = ""
    note: str = ""


def read_outcomes(path: Path) -> dict[str, bool | None]:
    """Read ``id,verdict`` lines; a first line ``id,verdict`` is a header. The last line wins.

    Raises:
        SettingsError: the file cannot be read, or a line is no such pair.
    """
    found: dict[str, bool | None] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, line in enumerate(csv.reader(file), start=1):
                cells = [cell.strip() for cell in line]
                if not any(cells) or (number == 1 and cells == ["id", "verdict"]):
                    continue
                if len(cells) != 2 or not cells[0] or cells[1].lower() not in OUTCOMES:
                    raise SettingsError(
                        f"{path}:{number}: write ID,VERDICT with a verdict of {_any(OUTCOMES)}"
                    )
                found[cells[0]] = OUTCOMES[cells[1].lower()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    return found


async def find_alerts(settings: Settings, ids: Iterable[str]) -> dict[str, Alert]:
    """Find alerts on the alerts topic by `id` or `event_id`; of several revisions the last.

    Raises:
        BrokerError: no broker answers, or there is no such topic.
        TocsinError: one of them is not there.
    """
    wanted = set(ids)
    found: dict[str, Alert] = {}
    topic = settings.topics.alerts
    async for records in read_topic(settings.kafka, topic, from_beginning=True, follow=False):
        for record in records:
            try:
                alert = decode_alert(record.value or b"")
            except DECODE_ERRORS:
                continue  # somebody else's record; `tocsin alerts tail` names it
            for name in wanted.intersection((alert.id, alert.event_id)):
                if name not in found or alert.revision >= found[name].revision:
                    found[name] = alert
    if missing := sorted(wanted - found.keys()):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise TocsinError(
            f"no alert {missing[0]!r}{more} on {topic!r}: nothing was sent; give id or event_id as "
            "tocsin alerts tail --json shows them, or name the transaction with --tx-id"
        )
    return found


def label_of(alert: Alert, outcome: bool | None, statement: Statement) -> Label:
    """Turn what was found about `alert` into the record of the labels topic.

    Raises:
        TocsinError: the alert lacks what a label needs.
    """
    detail = alert.detail
    needed = ("tx_id", "card_id", "terminal_id", "amount") if alert.kind == "fraud" else ("class",)
    if absent := [name for name in needed if detail.get(name) is None]:
        raise TocsinError(f"alert {alert.id!r} has no {absent[0]} in its detail: nothing was sent")
    if alert.kind == "object":
        return ObjectLabel(
            alert_id=alert.id,
            camera_id=alert.entity,
            class_name=str(detail["class"]),
            labelled_at=statement.at,
            is_true=outcome,
            source="analyst",
            by=statement.by,
            note=statement.note,
        )
    return TransactionLabel(
        tx_id=str(detail["tx_id"]),
        card_id=str(detail["card_id"]),
        terminal_id=str(detail["terminal_id"]),
        amount=float(detail["amount"] or 0.0),
        event_time=alert.event_time,
        labelled_at=statement.at,
        is_fraud=outcome,
        source="analyst",
        by=statement.by,
        note=statement.note,
    )


def checked(labels: Sequence[Label], horizon_days: int) -> list[Record]:
    """Encode `labels`, each under its key.

    Raises:
        TocsinError: the labels agent would refuse one of them; the message says why.
    """
    return [_record(label, horizon_days) for label in labels]


def _record(label: Label, horizon_days: int) -> Record:
    value = encode(label)
    try:
        decode_label(value)
    except DECODE_ERRORS as error:
        raise TocsinError(f"this is no label: {error}; nothing was sent") from None
    if isinstance(label, ObjectLabel):
        return label.camera_id.encode(), value
    age_ms = label.labelled_at - label.event_time
    if age_ms < 0:
        raise TocsinError(
            f"transaction {label.tx_id!r} happened after the verdict on it: nothing was sent; "
            "check --event-time and --at"
        )
    if age_ms > horizon_days * _DAY_MS:
        raise TocsinError(
            f"transaction {label.tx_id!r} is {age_ms // _DAY_MS} days old and labels.horizon_days "
            f"is {horizon_days}: nothing was sent; raise it for the labels agent too; where "
            "times are simulated give --at, or, on the page, set dashboard.clock to event"
        )
    return label.terminal_id.encode(), value


def _any(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}"

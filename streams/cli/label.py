"""`tocsin label`: say what an alert, or a transaction without one, turned out to be."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import moment_ms
from streams.cli.start import start
from streams.errors import SettingsError
from streams.producers.kafka import KeyedProducer
from streams.producers.sink import Record
from streams.producers.verdicts import (
    OUTCOMES,
    Statement,
    checked,
    find_alerts,
    label_of,
    read_outcomes,
)
from streams.schemas import Label, TransactionLabel
from streams.settings import Settings
from streams.tracing import open_spans, verdict_headers


def label(
    alerts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ALERT]...", help="Ids of alerts: `id` or `event_id`."),
    ] = None,
    *,
    fraud: Annotated[
        bool, typer.Option("--fraud", help="It was fraud (or, of an object: it was one).")
    ] = False,
    genuine: Annotated[bool, typer.Option("--genuine", help="It was not.")] = False,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take an earlier verdict back.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Lines of ID,VERDICT: fraud, genuine or withdraw."),
    ] = None,
    note: Annotated[str, typer.Option(help="Why.")] = "",
    by: Annotated[str, typer.Option(metavar="NAME", help="Who says so.")] = "",
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When the verdict was given, UTC; now if left out."),
    ] = None,
    tx_id: Annotated[
        str | None, typer.Option(metavar="ID", help="A transaction without an alert, and its:")
    ] = None,
    card: Annotated[str | None, typer.Option(metavar="ID", help="card,")] = None,
    terminal: Annotated[str | None, typer.Option(metavar="ID", help="terminal,")] = None,
    amount: Annotated[float | None, typer.Option(help="amount")] = None,
    event_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="and time, UTC or ms since the epoch.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the records and send nothing.")
    ] = False,
) -> None:
    """Send verdicts to the labels topic: the risk of the terminal and the live figures follow.

    The alerts are looked up on the alerts topic. Nothing is sent unless every verdict can be. A
    later verdict on the same transaction replaces an earlier one.
    """
    words = {"fraud": fraud, "genuine": genuine, "withdraw": withdraw}
    said = [word for word, given in words.items() if given]
    if len(said) > 1:
        raise SettingsError("--fraud, --genuine and --withdraw exclude each other")
    transaction = {
        "--tx-id": tx_id,
        "--card": card,
        "--terminal": terminal,
        "--amount": amount,
        "--event-time": event_time,
    }
    named = {name for name, value in transaction.items() if value is not None}
    ways = [bool(alerts), file is not None, bool(named)]
    if sum(ways) != 1:
        raise SettingsError("name alerts, or a --file, or a transaction with --tx-id: one of them")
    if file is None and not said:
        raise SettingsError("say what it was: --fraud, --genuine or --withdraw")
    if file is not None and said:
        raise SettingsError("the verdicts are in the --file: leave --fraud and the like out")
    if named and len(named) < len(transaction):
        missing = next(name for name in transaction if name not in named)
        raise SettingsError(f"{missing} is missing: a transaction without an alert needs all five")

    settings = start()
    statement = Statement(round(time.time() * 1000) if at is None else _time(at), by, note)
    if file is not None:
        asyncio.run(_label(settings, read_outcomes(file), statement, dry_run=dry_run))
        return
    outcome: bool | None = OUTCOMES[said[0]]
    if alerts:
        wanted: dict[str, bool | None] = dict.fromkeys(alerts, outcome)
        asyncio.run(_label(settings, wanted, statement, dry_run=dry_run))
        return
    one = TransactionLabel(
        tx_id=tx_id or "",
        card_id=card or "",
        terminal_id=terminal or "",
        amount=amount or 0.0,
        event_time=_time(event_time or ""),
        labelled_at=statement.at,
        is_fraud=outcome,
        source="analyst",
        by=by,
        note=note,
    )
    asyncio.run(_send(settings, [one], [None], dry_run=dry_run))


async def _label(
    settings: Settings, wanted: dict[str, bool | None], statement: Statement, *, dry_run: bool
) -> None:
    if not wanted:
        raise SettingsError("the --file holds no verdict")
    found = await find_alerts(settings, wanted)
    labels = [label_of(found[name], outcome, statement) for name, outcome in wanted.items()]
    await _send(settings, labels, [found[name].traceparent for name in wanted], dry_run=dry_run)


async def _send(
    settings: Settings, labels: list[Label], traceparents: list[str | None], *, dry_run: bool
) -> None:
    records: list[Record] = checked(labels, settings.labels.horizon_days)
    if dry_run:
        for _, value in records:
            print(value.decode())
        return
    topic = settings.topics.labels
    headers = verdict_headers(traceparents, topic, open_spans(settings.tracing, "label"))
    async with KeyedProducer(settings.kafka) as producer:
        await producer.send_many(topic, records, headers)
    number = len(records)
    print(f"sent {number} verdict{'s' * (number != 1)} to {topic!r}")


def _time(text: str) -> int:
    """Milliseconds since the epoch as they are, or a date."""
    return int(text) if text.isascii() and text.isdigit() else moment_ms(text)

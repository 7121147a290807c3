"""`tocsin alerts`: look at the alerts as they come."""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from streams.cli.alerts_show import show
from streams.cli.start import start
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS, Alert, decode_alert
from streams.settings import Settings

app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True, help="Look at the alerts.")

SEVERITY_STYLES = {
    "low": "green",
    "medium": "yellow",
    "high": "red",
    "critical": "bold white on red",
}

# Event ids remembered to drop repeats: a worker that restarts repeats at most its last batches.
_REMEMBERED = 100_000


@app.callback()
def group() -> None:
    """Look at the alerts."""


@app.command()
def tail(
    json_: Annotated[bool, typer.Option("--json", help="Print each alert as it is.")] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest alert.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N alerts.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Wait for more at the end of the topic.")] = True,
) -> None:
    """Print alerts, one line each, until Ctrl-C.

    An alert that was sent twice is printed once.
    """
    settings = start()
    asyncio.run(
        _tail(settings, raw=json_, from_beginning=from_beginning, limit=limit, follow=follow)
    )


app.command()(show)


async def _tail(
    settings: Settings, *, raw: bool, from_beginning: bool, limit: int | None, follow: bool
) -> None:
    console = Console(highlight=False)
    seen: OrderedDict[str, None] = OrderedDict()
    printed = 0
    topic = settings.topics.alerts
    batches = read_topic(
        settings.kafka, topic, from_beginning=from_beginning or not follow, follow=follow
    )
    async for records in batches:
        for record in records:
            try:
                alert = decode_alert(record.value or b"")
            except DECODE_ERRORS as error:
                where = f"{topic}:{record.partition}:{record.offset}"
                print(f"warning: {where} is not an alert: {error}", file=sys.stderr)
                continue
            if alert.event_id in seen:
                continue
            seen[alert.event_id] = None
            if len(seen) > _REMEMBERED:
                seen.popitem(last=False)
            if raw:
                print(record.value.decode(), flush=True)
            else:
                console.print(one_line(alert), soft_wrap=True)
            printed += 1
            if printed == limit:
                await batches.aclose()
                return


def one_line(alert: Alert) -> Text:
    """Say in one line what happened, to whom, how sure the network is, and why."""
    when = datetime.fromtimestamp(alert.event_time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    line = Text.assemble(
        (when, "dim"),
        " ",
        (f"{alert.severity:<8}", SEVERITY_STYLES[alert.severity]),
        f" {alert.kind} {alert.status} {alert.entity} score {alert.score:.3f}"
        f" (threshold {alert.threshold:.3f})",
    )
    if alert.kind == "fraud":
        detail = alert.detail
        line.append(
            f" {detail.get('amount')} {detail.get('currency')} at {detail.get('terminal_id')}"
        )
    else:
        line.append(f" {alert.detail.get('class')} {alert.detail.get('rule')}")
    if alert.rebuilding:
        line.append(" (rebuilding)", "dim")
    if alert.reasons:
        line.append(f": {'; '.join(reason.text for reason in alert.reasons)}")
    return line

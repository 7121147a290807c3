"""`tocsin replay`: recorded transactions back into Kafka."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from models.fraud.transactions import Transactions
from streams.admin import connect
from streams.cli.options import duration_ms, moment_ms
from streams.cli.produce import summary
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.errors import SettingsError
from streams.producers.files import column_map, read_transactions
from streams.producers.kafka import KeyedProducer
from streams.producers.pace import AtRate, FlatOut, Pace
from streams.producers.play import Limits, Progress, Sent, play
from streams.producers.records import Labelling
from streams.producers.replay import GroupWait, between, play_in_lockstep
from streams.settings import Settings
from streams.tracing import open_spans


def replay(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Parquet or CSV file with one row a transaction."),
    ] = None,
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, as other commands take it.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN,...",
            help="Columns to read; the default are the Fraud Detection Handbook's.",
        ),
    ] = "",
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="Transactions a second (default: flat out)."),
    ] = None,
    labels_delay: Annotated[
        int | None,
        typer.Option(parser=duration_ms, metavar="7d", help="Send each verdict this much later."),
    ] = None,
    lockstep: Annotated[
        int | None,
        typer.Option(
            parser=duration_ms,
            metavar="1d",
            help="Send so much event time at once and wait for the workers in between.",
        ),
    ] = None,
    stall: Annotated[
        float,
        typer.Option(min=1, metavar="S", help="With --lockstep: give up after S idle seconds."),
    ] = 120.0,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N transactions.")
    ] = None,
    first: Annotated[
        int | None,
        typer.Option("--from", parser=moment_ms, metavar="DATE", help="First event time."),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option("--to", parser=moment_ms, metavar="DATE", help="First event time left out."),
    ] = None,
) -> None:
    """Replay recorded transactions, and with --labels-delay their verdicts, in event time.

    With --lockstep the scores are those of a live system: each step's labels are applied before
    its transactions are sent, and these are scored before the next step. It needs the labels and
    the fraud worker running.
    """
    if rate is not None and lockstep is not None:
        raise SettingsError("give --rate or --lockstep, not both")
    source = file or data
    if source is None or (file and data):
        raise SettingsError("name one file to replay: tocsin replay FILE")
    settings = start()
    labelling = Labelling(labels_delay, "case system") if labels_delay else None
    rows = read_transactions(source, column_map(columns), verdicts=labelling is not None)
    rows = between(rows, first, last, limit)
    asyncio.run(_replay(settings, rows, labelling, rate=rate, step_ms=lockstep, stall_s=stall))


async def _replay(
    settings: Settings,
    rows: Transactions,
    labelling: Labelling | None,
    *,
    rate: float | None,
    step_ms: int | None,
    stall_s: float,
) -> None:
    begun = time.monotonic()
    with progress_bar("transactions", len(rows)) as advance:

        def progress(sent: Sent) -> None:
            advance(sent.transactions, f"{sent.labels} labels")

        async with KeyedProducer(settings.kafka) as producer:
            if step_ms is None:
                pace: Pace = FlatOut() if rate is None else AtRate(rate)
                sent = await play(
                    producer,
                    settings,
                    [rows],
                    pace=pace,
                    labelling=labelling,
                    limits=Limits(),
                    progress=progress,
                    spans=open_spans(settings.tracing, "producer"),
                )
            else:
                sent = await _lockstep(
                    producer,
                    settings,
                    rows,
                    labelling,
                    step_ms=step_ms,
                    stall_s=stall_s,
                    progress=progress,
                )
    print(summary(sent, time.monotonic() - begun))


async def _lockstep(
    producer: KeyedProducer,
    settings: Settings,
    rows: Transactions,
    labelling: Labelling | None,
    *,
    step_ms: int,
    stall_s: float,
    progress: Progress,
) -> Sent:
    with ExitStack() as stack:
        admin = await asyncio.to_thread(stack.enter_context, connect(settings.kafka))
        return await play_in_lockstep(
            producer,
            settings,
            rows,
            step_ms=step_ms,
            labelling=labelling,
            wait=GroupWait(admin.committed, producer.ends, stall_s),
            progress=progress,
        )

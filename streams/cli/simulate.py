"""`tocsin simulate`: seeded histories of faults in memory, each held against the contract."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from streams.cli.options import Report, writable, write_report

REPLAY: Final = 'make simulate ARGS="--seed {seed} --histories 1{size} --trace trace.txt"'

WORTH_A_PROCESS: Final = 20
"""Histories; fewer are over before another process has begun."""

_console = Console(highlight=False)


def simulate(
    *,
    seed: Annotated[int, typer.Option(min=0, help="Of the first history.")] = 1,
    histories: Annotated[
        int, typer.Option(min=1, help="How many, each with the next seed.")
    ] = 1000,
    large: Annotated[
        bool | None,
        typer.Option(
            "--large/--small",
            help="Only histories of 20,000 events in large batches, or none of them.",
            show_default="a few",
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Begin none after so long.")] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="That play at the same time.", show_default="one for each CPU"),
    ] = None,
    report: Report = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write what happened in the last one, line by line.",
            callback=writable,
        ),
    ] = None,
) -> None:
    """Play histories of crashes, lost answers, rebalances and a store that forgets, in memory.

    At every flush, at every commit and at the end of each it is checked that nothing is lost,
    applied twice or invented. The same seed plays the same history, byte by byte. Exits with 1 if
    the contract is broken, and prints how to replay that.
    """
    from streams.simulation.history import Outcome  # noqa: PLC0415  imports Faust
    from streams.simulation.run import KINDS  # noqa: PLC0415
    from streams.simulation.run import simulate as play  # noqa: PLC0415

    last: list[Outcome] = []
    size = {None: "", True: " --large", False: " --small"}[large]

    def played(outcome: Outcome) -> None:
        last[:] = [outcome]
        if outcome.violated:
            print(f"seed {outcome.seed}: {outcome.violated}: {outcome.message}")
            print(f"  replay: {REPLAY.format(seed=outcome.seed, size=size)}", flush=True)

    if trace is not None or histories < WORTH_A_PROCESS:
        processes = 1
    found = play(
        seed,
        histories,
        is_large=large,
        seconds=seconds or math.inf,
        processes=processes or os.cpu_count() or 1,
        played=played,
    )
    table = found.table()
    _show(table, KINDS)
    write_report(report, table)
    if trace is not None and (happened := last[0].trace) is not None:
        trace.write_text(happened.text(), encoding="utf-8")
    if found.failed:
        raise typer.Exit(1)


def _show(found: dict[str, Any], kinds: Sequence[str]) -> None:
    table = Table("", "count", box=None, pad_edge=False)
    for name in ("histories", "events", "flushes", "commits", "faults_injected", *kinds):
        table.add_row(name.replace("_", " "), f"{found[name]:,}")
    table.add_row("duplicates (allowed)", f"{found['duplicates']:,}")
    table.add_row("seconds", f"{found['seconds']:.1f}")
    _console.print(table)
    faults = ", ".join(f"{kind} {count:,}" for kind, count in found["faults"].items())
    _console.print(f"faults: {faults}", soft_wrap=True)

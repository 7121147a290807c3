"""`tocsin bench`: throughput, latency and memory of both paths on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streams.cli.bench_options import Bootstrap, Redis, bench
from streams.cli.bench_video import video
from streams.cli.options import Report, write_report

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Measure the paths on this machine, on Apache Kafka and Redis.",
)

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The Fraud Detection Handbook's Parquet file; simulated without it.",
    ),
]
_console = Console(highlight=False)

app.command()(video)


@app.command()
def fraud(
    *,
    data: Data = None,
    count: Annotated[int, typer.Option(min=1000, help="Transactions a run.")] = 1_000_000,
    faust_count: Annotated[
        int, typer.Option(min=1000, help="Of these, how many plain Faust gets: it is slow.")
    ] = 200_000,
    cold_cards: Annotated[
        int, typer.Option(min=1000, help="Transactions of the run where every card is new.")
    ] = 200_000,
    runs: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 3,
    bootstrap: Bootstrap = None,
    redis: Redis = None,
    report: Report = None,
) -> None:
    """Throughput, beside plain Faust and a hand-written confluent-kafka loop.

    All three score the same topic with the same network, each in a process of its own, and must
    raise the same alerts. Tocsin alone keeps its state in Redis.
    """
    from streams.bench.fraud import Plan, compare  # noqa: PLC0415  imports torch

    plan = Plan(
        data=data,
        count=count,
        faust_count=min(faust_count, count),
        cold_cards=cold_cards,
        runs=runs,
    )
    with bench(bootstrap, redis) as settings:
        found = compare(settings, plan, print)
    _show_throughput(found)
    write_report(report, found)


@app.command()
def latency(
    *,
    data: Data = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a run.")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 5,
    bootstrap: Bootstrap = None,
    redis: Redis = None,
    report: Report = None,
) -> None:
    """From sending a transaction to its acknowledged alert, at 5,000 transactions a second.

    Beside it the same load through a producer and a consumer with nothing in between.
    """
    from streams.bench.latency import compare  # noqa: PLC0415  imports torch

    with bench(bootstrap, redis) as settings:
        found = compare(settings, data, seconds, runs, print)
    table = Table("", "median", box=None, pad_edge=False)
    for title, name in (("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("bare p99 ms", "bare_p99_ms")):
        table.add_row(title, f"{found[name]:.1f}")
    table.add_row("worker cores", f"{found['worker_cores']:.2f}")
    _console.print(table)
    write_report(report, found)


@app.command()
def memory(
    *,
    data: Data = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 10.0,
    cards: Annotated[
        int, typer.Option("--count", min=1000, help="Distinct cards, in turn.")
    ] = 1_000_000,
    bootstrap: Bootstrap = None,
    redis: Redis = None,
    report: Report = None,
) -> None:
    """Memory of a worker at full speed, with more cards than it holds rows.

    Ends with a sample of cards read back from Redis: each must have counted all its transactions.
    """
    from streams.bench.memory import watch  # noqa: PLC0415  imports torch

    with bench(bootstrap, redis) as settings:
        found = watch(settings, data, minutes, cards, print)
    rss = {f"rss {name}": value for name, value in found["rss_mib"].items()}
    table = Table("", "", box=None, pad_edge=False)
    for name, value in {**rss, **found}.items():
        if name != "rss_mib":
            table.add_row(name, f"{value:,.1f}" if isinstance(value, float) else f"{value}")
    _console.print(table)
    write_report(report, found)


def _show_throughput(found: dict[str, Any]) -> None:
    table = Table(
        "", "events/s", "CPU s a million", "peak RSS MiB", "alerts", box=None, pad_edge=False
    )
    cold = found["cold_cards"]
    for title, one in (
        ("Tocsin", found["tocsin"]),
        ("plain Faust", found["faust"]),
        ("confluent-kafka loop", found["loop"]),
        ("Tocsin, new cards", cold),
        ("loop, new cards", cold["loop"]),
    ):
        table.add_row(
            title,
            f"{one['events_per_s']:,.0f}",
            f"{one['cpu_s_per_million']:.1f}",
            f"{one['peak_rss_mib']:.0f}",
            f"{one['alerts']} of {one['events']:,}",
        )
    _console.print(table)
    stages = found["tocsin"]["stages_us"]
    wall = found["tocsin"]["stages_wall_us"]
    _console.print(
        "Tocsin's stages, us an event, CPU of the thread (wall clock): "
        + ", ".join(f"{name} {stages[name]:.2f} ({wall[name]:.2f})" for name in stages)
    )
    _console.print(
        f"Tocsin is {found['ratio_faust']:.1f} times plain Faust, {found['ratio_loop']:.2f} times "
        f"the loop, {cold['ratio_loop']:.2f} times the loop on new cards; "
        f"latency at 5,000/s p50 {found['latency_ms']['p50']:.0f} ms, "
        f"p99 {found['latency_ms']['p99']:.0f} ms"
    )

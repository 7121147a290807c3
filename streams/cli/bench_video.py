"""`tocsin bench video`: the figures of the video path on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streams.cli.bench_options import Bootstrap, Redis, Report, bench
from streams.cli.options import write_report
from streams.cli.start import let_idle_threads_sleep

_console = Console(highlight=False)


def video(
    *,
    weights: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="The network; vision.model without."),
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A recorded video; the simulated camera without."),
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this part; may be repeated.")
    ] = None,
    frames: Annotated[int, typer.Option(min=16, help="Frames a run of the ratio.")] = 1200,
    runs: Annotated[int, typer.Option(min=1, help="Repetitions; medians are reported.")] = 3,
    bootstrap: Bootstrap = None,
    redis: Redis = None,
    report: Report = None,
) -> None:
    """Frames/s beside a bare decode-and-detect loop.

    By default the simulated camera and its bundled network, which need no download.
    """
    let_idle_threads_sleep()
    from streams.bench.video.run import Plan, measure  # noqa: PLC0415  imports torch

    plan = Plan(weights=weights, video=video, parts=part, frames=frames, runs=runs)
    with bench(bootstrap, redis) as settings:
        found = measure(settings, plan, print)
    _show(found)
    write_report(report, found)


def _show(found: dict[str, Any]) -> None:
    if ratio := found.get("ratio"):
        _show_ratio(ratio)


def _show_ratio(found: dict[str, Any]) -> None:
    table = Table("", "frames/s", "CPU ms a frame", "peak RSS MiB", box=None, pad_edge=False)
    for title, one in (("Tocsin", found["path"]), ("bare loop", found["bare"])):
        table.add_row(
            title,
            f"{one['frames_per_s']:.1f}",
            f"{one['cpu_ms_per_frame']:.1f}",
            f"{one['peak_rss_mib']:.0f}",
        )
    _console.print(table)
    _console.print(
        f"Tocsin is {found['ratio']:.2f} times the bare loop, with {found['alerts']} alerts; "
        f"its batches are {100 * found['batch_fill']:.0f} % full"
    )

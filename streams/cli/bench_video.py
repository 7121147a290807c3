"""`tocsin bench video`: the figures of the video path on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streams.cli.bench_options import Bootstrap, Redis, bench
from streams.cli.options import Report, write_report
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
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only ratio, gate, latency, overload or memory; may be repeated.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=16, help="Frames of a backlog.")] = 1200,
    runs: Annotated[int, typer.Option(min=1, help="Repetitions of the ratio.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="Length of a paced run.")] = 20.0,
    cameras: Annotated[int, typer.Option(min=1, help="Most cameras that the gate tries.")] = 256,
    minutes: Annotated[float, typer.Option(min=0.2, help="Length of the memory run.")] = 20.0,
    bootstrap: Bootstrap = None,
    redis: Redis = None,
    report: Report = None,
) -> None:
    """The video path: speed, cameras held, latency, overload, memory.

    Frames/s of the whole path beside a bare decode-and-detect loop; cameras at 10 fps before a
    mostly still scene, with the motion gate and without; latency of 4 cameras at 5 fps; twice the
    load it can hold; memory while cameras come and go. By default on the simulated camera and its
    bundled network, which need no download.
    """
    let_idle_threads_sleep()
    from streams.bench.video.run import Plan, measure  # noqa: PLC0415  imports torch

    plan = Plan(
        weights=weights,
        video=video,
        parts=part,
        frames=frames,
        runs=runs,
        seconds=seconds,
        cameras=cameras,
        minutes=minutes,
    )
    with bench(bootstrap, redis) as settings:
        found = measure(settings, plan, print)
    for name, show in _SHOWN.items():
        if name in found:
            show(found[name])
    write_report(report, found)


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


def _show_gate(found: dict[str, Any]) -> None:
    _console.print(
        f"Cameras at {found['fps']:g} fps before a scene that moves "
        f"{100 * found['moving_share']:.0f} % of the time: {found['on']['cameras']} with the "
        f"motion gate, {found['off']['cameras']} without"
    )


def _show_latency(found: dict[str, Any]) -> None:
    alert, frame = found["alert_ms"], found["frame_ms"]
    _console.print(
        f"{found['cameras']} cameras at {found['fps']:g} fps, from capture: to alert p50 "
        f"{alert['p50']:.0f} ms, p99 {alert['p99']:.0f} ms ({found['alerts']} alerts); to tracks "
        f"p50 {frame['p50']:.0f} ms, p99 {frame['p99']:.0f} ms; {found['fates']['dropped']} of "
        f"{found['fates']['produced']} frames dropped"
    )


def _show_overload(found: dict[str, Any]) -> None:
    fates = found["fates"]
    _console.print(
        f"{found['offered_fps']:.1f} frames/s offered to a worker that holds "
        f"{found['capacity_fps']:.1f}: {fates['produced']} = {fates['detected']} detected + "
        f"{fates['dropped']} dropped + {fates['still']} still; batches "
        f"{100 * found['batch_fill']:.0f} % full, backlog up to {found['backlog']} frames; done at "
        f"p99 {found['frame_ms']['p99']:.0f} ms, at most {found['frame_ms']['max']:.0f} ms, of "
        f"{found['max_age_ms']:.0f} ms allowed"
    )


def _show_memory(found: dict[str, Any]) -> None:
    table = Table("", "first half", "second half", "most", box=None, pad_edge=False)
    for title, name in (
        ("RSS MiB", "rss_mib"), ("files", "files"), ("threads", "threads"),
        ("Redis keys", "redis_keys"),
    ):  # fmt: skip
        one = found[name]
        most = one.get("most", one.get("peak"))
        table.add_row(title, f"{one['first_half']:.0f}", f"{one['second_half']:.0f}", f"{most:.0f}")
    _console.print(table)
    _console.print(
        f"RSS moves by {found['rss_mib']['slope_mib_per_min']:+.2f} MiB a minute over "
        f"{found['minutes']:g} minutes and {found['cameras_came']} visits of cameras"
    )


_SHOWN = {
    "ratio": _show_ratio,
    "gate": _show_gate,
    "latency": _show_latency,
    "overload": _show_overload,
    "memory": _show_memory,
}

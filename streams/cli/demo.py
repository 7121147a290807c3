"""`tocsin demo`: the whole system on this machine, with a live view."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from models.vision.domain import REAL, SIMULATED
from streams.cli.demo_lines import LineView
from streams.cli.demo_screen import ScreenView
from streams.cli.options import writable, write_report
from streams.cli.start import start
from streams.demo.gauges import gauges
from streams.demo.ground import STREET_RULES, Ground, prepared
from streams.demo.run import Demo, Scenario
from streams.devstack.ports import free_ports
from streams.errors import SettingsError, WorkerError
from streams.pipeline.network import check_weights
from streams.producers.sources import Source, parse_source
from streams.settings import Settings
from streams.supervisor import AGENTS, Supervisor, agent_specs, dashboard_spec

# The embedded broker forgets nothing and takes longer for each fetch the more it holds: after this
# long at the default rate, more than half a core.
_LONGEST_S = 300.0


def demo(
    *,
    rate: Annotated[
        float, typer.Option(min=1, max=20_000, metavar="N", help="Transactions a second.")
    ] = 1000.0,
    duration: Annotated[
        float | None, typer.Option(min=1, metavar="S", help="Stop after S seconds of traffic.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the figures as JSON; needs --duration.", callback=writable
        ),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Use this Kafka, not an embedded one.")
    ] = None,
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="Use this Redis, not an embedded one.")
    ] = None,
    video: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="What the camera sees: sim[:SEED], a video file, rtsp://..., a webcam's number, "
            "or off. Anything but sim needs vision.model.",
        ),
    ] = "sim",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same events.")] = 0,
) -> None:
    """Start everything on this machine, feed it payments and a camera, and watch the alerts.

    It prints the address of the dashboard, where one acts on them.

    Payments are simulated, and so is the camera unless --video names another. A simulated day of
    payments lasts about a second, so labels, 7 days late, come back after 8 s. Ctrl-C ends it and
    leaves nothing behind; on the embedded broker it ends by itself after 5 minutes. Where the
    output is no terminal, or with --report, it prints plain lines.
    """
    if report is not None and duration is None:
        raise SettingsError("--report is written at the end: give --duration with it")
    settings, since = start(), time.monotonic()
    cameras = {} if video == "off" else {"street": parse_source(video)}
    vision = _vision_settings(settings, cameras)
    # SIGTERM unwinds like Ctrl-C, also where the shell had us started with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console(highlight=False)
    is_live = console.is_terminal and report is None
    longest = _LONGEST_S if bootstrap is None else None
    scenario = Scenario(rate, seed, longest if duration is None else duration, cameras)
    try:
        result = _run(scenario, (bootstrap, redis), vision, console, since, is_live=is_live)
    except KeyboardInterrupt:
        if duration is not None:
            raise
        return  # Ctrl-C is how an endless demo ends
    write_report(report, result)


def _run(
    scenario: Scenario,
    servers: tuple[str | None, str | None],
    vision: dict[str, Any],
    console: Console,
    since: float,
    *,
    is_live: bool,
) -> dict[str, Any]:
    with ExitStack() as stack:
        console.print("starting broker, Redis and workers", style="dim")
        ground = stack.enter_context(prepared(*servers, vision))
        agents = [name for name in AGENTS if scenario.cameras or name != "vision"]
        ports = dict(zip(agents, free_ports(len(agents)), strict=True))
        output = stack.enter_context(ground.log.open("ab"))
        if is_live:  # what we log would tear the screen
            logging.getLogger().handlers[:] = [logging.FileHandler(ground.log)]
        stack.callback(console.print, "stopped")
        watched = gauges(ports)
        specs = agent_specs(ports, ground.environment)
        address = _dashboard_address()
        if address is not None:
            workers = [gauge.address for gauge in watched.values()]
            specs.append(dashboard_spec(address, workers, ground.environment))
        supervisor = Supervisor(specs, output=output)
        stack.enter_context(supervisor)
        run = Demo(ground.settings, scenario, supervisor, watched, dashboard=address, since=since)
        return _watched(run, ground, console, is_live=is_live)


def _dashboard_address() -> str | None:
    """Choose where the dashboard listens; None where its packages are not installed."""
    if find_spec("nicegui") is None:
        return None
    return f"http://127.0.0.1:{free_ports(1)[0]}"


def _vision_settings(settings: Settings, cameras: Mapping[str, Source]) -> dict[str, Any]:
    """Choose rules for the simulated street, and refuse weights that know nothing else.

    Raises:
        ModelError: the weights are not there, or are for another kind of camera.
    """
    if not cameras:
        return {}
    simulated = all(source.kind == "simulated" for source in cameras.values())
    check_weights(settings, SIMULATED if simulated else REAL)
    chosen: dict[str, Any] = {"model": settings.vision.model}
    if simulated and settings.vision.rules is None:
        chosen["rules"] = STREET_RULES
    return chosen


def _watched(run: Demo, ground: Ground, console: Console, *, is_live: bool) -> dict[str, Any]:
    view = (ScreenView if is_live else LineView)(run, ground, console)
    try:
        with view:
            return asyncio.run(run.run(view.show, view.every_s))
    except WorkerError as error:
        raise WorkerError(f"{error}; the workers' last words:\n{ground.log_tail()}") from None
    finally:
        view.summary()

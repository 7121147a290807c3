"""`tocsin produce`: make events where no payment system does."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from models.fraud.simulator import SimulatorConfig
from streams.cli.options import cameras_of, size_of
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.errors import SettingsError
from streams.producers.kafka import KeyedProducer
from streams.producers.pace import AlongEventTime, AtRate, Pace
from streams.producers.play import Limits, Sent, play
from streams.producers.records import Labelling
from streams.producers.transactions import simulated_days, world
from streams.settings import Settings
from streams.tracing import open_spans

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Produce simulated events, or frames of cameras.",
)

_DEFAULT_RATE = 100.0
_DAY_MS = 86_400_000


@app.callback()
def group() -> None:
    """Produce events, or frames of cameras."""


@app.command()
def transactions(
    *,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="N", help="Transactions a second (default 100)."),
    ] = None,
    speed_up: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="X", help="Simulated seconds a second, instead of --rate."),
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Stop after S seconds.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N transactions.")
    ] = None,
    label_delay: Annotated[
        float,
        typer.Option(min=0, metavar="DAYS", help="Simulated days until a verdict; 0 sends none."),
    ] = 7.0,
    customers: Annotated[int, typer.Option(min=1, help="Simulated cards.")] = 5000,
    terminals: Annotated[int, typer.Option(min=1, help="Simulated terminals.")] = 10_000,
    begin: Annotated[
        str, typer.Option("--start", metavar="DATE", help="First simulated day.")
    ] = "2018-04-01",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same events.")] = 0,
) -> None:
    """Simulate card payments with three kinds of fraud, and the verdicts on them.

    Event times are those of the simulated calendar. Without --count or --duration it goes on
    until Ctrl-C.
    """
    if rate is not None and speed_up is not None:
        raise SettingsError("give --rate or --speed-up, not both")
    config = world(customers=customers, terminals=terminals, start=begin, seed=seed)
    pace: Pace = AlongEventTime(speed_up) if speed_up else AtRate(rate or _DEFAULT_RATE)
    delay_ms = round(label_delay * _DAY_MS)
    labelling = Labelling(delay_ms, "simulator") if delay_ms else None
    asyncio.run(_produce(start(), config, pace, labelling, Limits(count, duration)))


@app.command()
def video(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A video file, a folder of pictures, rtsp://..., http://..., a webcam's number, "
            "or sim[:SEED] for the simulated street (the default)."
        ),
    ] = None,
    *,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SOURCE",
            envvar="TOCSIN_CAMERAS",
            help="A camera by name; may be repeated, or stand in the variable with spaces between "
            "several: a command line shows everyone the password of an address.",
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.01, max=1000, help="Frames a second of each camera.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Scale to so many pixels.")
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEGs.")] = 80,
    duration: Annotated[
        float | None, typer.Option(min=0, metavar="S", help="Stop after S seconds.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N frames of all cameras.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin a file again at its end.")] = False,
    flat_out: Annotated[
        bool,
        typer.Option(
            "--flat-out",
            help="Send a file as fast as it can be read; for vision.policy keep-all, because its "
            "pictures are then of the past.",
        ),
    ] = False,
) -> None:
    """Send what cameras see: one SOURCE, or several by --camera.

    A live camera that is lost is tried again for ever, later each time; the agent is told. What
    the broker is too slow for is dropped and counted. Ends with its files, or by Ctrl-C.
    """
    from streams.producers.camera import Shape  # noqa: PLC0415  imports OpenCV
    from streams.producers.video import Until, send_video  # noqa: PLC0415

    if loop and flat_out:
        raise SettingsError("--loop has no last picture for --flat-out to be of now")
    cameras = cameras_of(source, camera or [])
    shape = Shape(quality, size_of(size), fps, flat_out, loop)
    settings, begun = start(), time.monotonic()
    with progress_bar("frames", count) as advance:
        sent = asyncio.run(
            send_video(
                settings,
                cameras,
                shape,
                until=Until(count, duration),
                progress=lambda sent: advance(sent.frames, f"{len(sent.by_camera)} cameras"),
                spans=open_spans(settings.tracing, "producer"),
            )
        )
    seconds = time.monotonic() - begun
    print(
        f"sent {sent.frames} frames of {len(sent.by_camera)} cameras in {seconds:.1f} s "
        f"({sent.frames / max(seconds, 1e-9):.0f} frames/s), dropped {sent.dropped}, "
        f"refused {sent.refused}"
    )


async def _produce(
    settings: Settings,
    config: SimulatorConfig,
    pace: Pace,
    labelling: Labelling | None,
    limits: Limits,
) -> None:
    async with KeyedProducer(settings.kafka) as producer:
        begun = time.monotonic()
        with progress_bar("transactions", limits.count) as advance:
            sent = await play(
                producer,
                settings,
                simulated_days(config),
                pace=pace,
                labelling=labelling,
                limits=limits,
                progress=lambda sent: advance(sent.transactions, f"{sent.labels} labels"),
                spans=open_spans(settings.tracing, "producer"),
            )
        print(summary(sent, time.monotonic() - begun))


def summary(sent: Sent, seconds: float) -> str:
    """Say what was sent and how fast."""
    rate = (sent.transactions + sent.labels) / max(seconds, 1e-9)
    return (
        f"sent {sent.transactions} transactions and {sent.labels} labels "
        f"in {seconds:.1f} s ({rate:.0f} records/s)"
    )

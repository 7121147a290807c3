"""`tocsin evaluate`: measure networks against the truth, one module a command."""

from __future__ import annotations

import typer

from streams.cli.evaluate_detector import detector
from streams.cli.evaluate_fraud import fraud
from streams.cli.evaluate_tracker import tracker
from streams.cli.evaluate_video import video

app = typer.Typer(
    rich_markup_mode="markdown", no_args_is_help=True, help="Measure a network against the truth."
)


@app.callback()
def group() -> None:
    """Measure a network against the truth."""


app.command()(fraud)
app.command()(detector)
app.command()(tracker)
app.command()(video)

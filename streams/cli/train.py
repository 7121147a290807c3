"""`tocsin train`: weights from data, one module a command."""

from __future__ import annotations

import typer

from streams.cli.train_detector import detector
from streams.cli.train_fraud import fraud

app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True, help="Train a network.")


@app.callback()
def group() -> None:
    """Train a network."""


app.command()(fraud)
app.command()(detector)

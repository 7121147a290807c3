"""`tocsin worker`: one agent in this process, or all of them, one process each."""

from __future__ import annotations

import sys

import typer

from streams.cli.start import start

app = typer.Typer(no_args_is_help=True, help="Run the agents: fraud, labels, or all of them.")


def _run(name: str) -> None:
    # Here, because torch and Faust take seconds to import and `--help` should not.
    from streams.worker import Worker  # noqa: PLC0415

    sys.exit(Worker(name, start()).run())  # type: ignore[arg-type]


@app.command()
def fraud() -> None:
    """Score transactions and raise alerts."""
    _run("fraud")


@app.command()
def labels() -> None:
    """Fold verdicts into the terminals' risk profiles."""
    _run("labels")

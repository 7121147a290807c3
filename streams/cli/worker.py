"""`tocsin worker`: one agent in this process, or all of them, one process each."""

from __future__ import annotations

import signal
import sys
import threading

import typer

from streams.cli.start import let_idle_threads_sleep, start
from streams.supervisor import Patience, Supervisor, agent_specs, health_ports

app = typer.Typer(
    no_args_is_help=True, help="Run the agents: fraud, labels, vision, or all of them."
)

# What an agent may take to end after its drain has timed out.
_GRACE_S = 10.0


def _run(name: str) -> None:
    let_idle_threads_sleep()
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


@app.command()
def vision() -> None:
    """Find and follow objects in camera frames, and raise alerts by rules."""
    _run("vision")


@app.command(name="all")
def all_() -> None:
    """Run every agent in a process of its own, and start again what crashed.

    Health and metrics of the fraud agent are at health.port, of the labels agent one above, of
    the vision agent two above.
    SIGTERM or Ctrl-C ends them all.
    """
    settings = start()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    patience = Patience(stop_s=settings.delivery.drain_timeout_s + _GRACE_S)
    with Supervisor(agent_specs(health_ports(settings)), patience) as supervisor:
        supervisor.run(stopping)

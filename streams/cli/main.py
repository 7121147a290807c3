"""The `tocsin` command: global options, the list of commands, and errors as one line.

A command's module is imported when the command is named, so that ``tocsin topics list`` does not
wait for torch. ``tocsin --help`` imports them all; they import what is heavy when they run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from typer.core import TyperGroup

from models.errors import ModelError
from streams.errors import SettingsError, TocsinError
from streams.settings import PASSWORD_IN_URL, is_secret, variable_of

COMMANDS: Final[Mapping[str, str]] = {
    # name: module and Typer app, or function of a single command
    "demo": "streams.cli.demo:demo",
    "worker": "streams.cli.worker:app",
    "status": "streams.cli.status:status",
    "topics": "streams.cli.topics:app",
    "produce": "streams.cli.produce:app",
    "replay": "streams.cli.replay:replay",
    "alerts": "streams.cli.alerts:app",
    "label": "streams.cli.label:label",
    "dashboard": "streams.cli.dashboard:app",
    "webhooks": "streams.cli.webhooks:webhooks",
    "dead-letters": "streams.cli.dead_letters:app",
    "state": "streams.cli.state:app",
    "rights": "streams.cli.rights:app",
    "models": "streams.cli.models:app",
    "train": "streams.cli.train:app",
    "evaluate": "streams.cli.evaluate:app",
    "report": "streams.cli.report:app",
    "bench": "streams.cli.bench:app",
    "simulate": "streams.cli.simulate:simulate",
    "schemas": "streams.cli.schemas:app",
    "config": "streams.cli.config:app",
    "version": "streams.cli.version:version",
}

INTERRUPTED = 130  # what a shell reports for a command that SIGINT ended


class CommandTable(TyperGroup):
    """Finds commands by `COMMANDS`, and prints our errors as one line without a traceback."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command; None where the table does not have it."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, attribute = target.split(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            command: Any = typer.main.get_group(found)
        else:
            single = typer.Typer(rich_markup_mode="markdown", add_completion=False)
            single.command()(found)
            command = typer.main.get_command(single)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Exit 2 for a wrong setting, 1 for what failed, 130 for Ctrl-C."""
        try:
            return super().invoke(ctx)
        except (TocsinError, ModelError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    cls=CommandTable,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Real-time fraud and object alerts: Kafka streams through neural networks.",
)


@app.callback()
def options(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings file in TOML.")
    ] = None,
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None,
        typer.Option("--log-level", case_sensitive=False, help="What to log to standard error."),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option("--log-format", help="Log lines as text or as JSON objects."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.NAME=VALUE",
            help="Any setting, as config show names it; may be repeated.",
        ),
    ] = None,
) -> None:
    """Put the global options where `load_settings` and the worker's children read them."""
    given = {
        "TOCSIN_CONFIG": config,
        "TOCSIN_LOG__LEVEL": log_level,
        "TOCSIN_LOG__FORMAT": log_format,
    }
    for name, value in given.items():
        if value is not None:
            os.environ[name] = str(value)
    for setting in settings or ():
        path, given_one, text = setting.partition("=")
        if not given_one:
            raise SettingsError(f"--set {setting}: write SECTION.NAME=VALUE")
        variable = variable_of(path)
        if is_secret(path.split(".")) or PASSWORD_IN_URL.search(text):
            raise SettingsError(
                f"--set {path}: everyone on this machine can read a command line, and this holds a "
                f"password: set {variable}, or put it into a file of that name in the directory "
                "that TOCSIN_SECRETS_DIR names"
            )
        os.environ[variable] = text


def main() -> None:
    """Run the command line; the entry point."""
    app(prog_name="tocsin")

"""`tocsin config`: what the settings come to."""

from __future__ import annotations

import json
from typing import Any

import typer

from streams.cli.start import start
from streams.settings import PASSWORD_IN_URL

app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True, help="Inspect the settings.")


@app.callback()
def group() -> None:
    """Inspect the settings."""


@app.command()
def show() -> None:
    """Print the effective settings as TOML: defaults, file, environment and flags together.

    Passwords are masked. Settings that have no value are commented out.
    """
    for section, values in start().model_dump(mode="json").items():
        print(f"[{section}]")
        tables = {}
        for name, value in values.items():
            if isinstance(value, dict):
                tables[name] = value
            else:
                print(_line(name, value))
        for name, table in tables.items():
            print(f"\n[{section}.{name}]")
            for key, value in table.items():
                print(_line(json.dumps(key), value))
        print()


def _line(name: str, value: Any) -> str:
    """One setting; JSON writes strings, numbers, booleans and lists as TOML does."""
    if isinstance(value, str):
        value = PASSWORD_IN_URL.sub(r"\1:**********@", value)
    return f"# {name} is not set" if value is None else f"{name} = {json.dumps(value)}"

"""`tocsin dashboard`: the page and the API."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.start import start
from streams.errors import SettingsError

app = typer.Typer(
    rich_markup_mode="markdown",
    invoke_without_command=True,
    help="Serve the page where people act on alerts, and its API.",
)


@app.callback()
def run(ctx: typer.Context) -> None:
    """Serve the page and the API at dashboard.host and dashboard.port until Ctrl-C.

    It reads Kafka and Redis alone. Several dashboards may run side by side and show the same.
    Whoever reaches it may do everything, unless dashboard.users names who may come in; without
    them it listens to this machine alone.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = start()
    needs_dashboard()
    from streams.dashboard.serve import serve  # noqa: PLC0415  imports the web server

    serve(settings)


@app.command()
def credentials(
    name: Annotated[str, typer.Argument(help="Who.")],
    *,
    role: Annotated[str, typer.Option(help="viewer or analyst.")] = "analyst",
    token: Annotated[
        bool, typer.Option("--token", help="Make a token, for a program, not a password.")
    ] = False,
    once: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Make a password, say it, and write the settings to FILE; not where FILE is.",
        ),
    ] = None,
) -> None:
    """Ask for a password, or make a token, and print the settings of a user.

    The settings hold hashes alone.
    """
    if role not in {"viewer", "analyst"}:
        raise SettingsError(f"--role {role}: viewer or analyst")
    if once and token:
        raise SettingsError("--once makes a password: leave --token away")
    needs_dashboard()
    from streams.dashboard.access.users import hash_password, new_token  # noqa: PLC0415

    if once:
        _write_once(once, name, role)
        return
    if token:
        secret, kept = new_token()
        typer.echo(f"the token, which is shown this once: {secret}", err=True)
        line = f'token = "{kept}"'
    else:
        password = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
        if len(password) < 12:
            raise SettingsError("a password has at least 12 characters")
        line = f'password = "{hash_password(password)}"'
    print(_user(name, role, line))


def _user(name: str, role: str, secret: str) -> str:
    return f'[dashboard.users."{name}"]\nrole = "{role}"\n{secret}'


def _write_once(path: Path, name: str, role: str) -> None:
    from streams.dashboard.access.users import hash_password  # noqa: PLC0415

    password = secrets.token_urlsafe(15)
    text = _user(name, role, f'password = "{hash_password(password)}"')
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path} says who may come in; a password was told when it was made")
        return
    except OSError as error:
        raise SettingsError(f"cannot write --once {path}: {error.strerror}") from None
    with os.fdopen(file, "w", encoding="utf-8") as settings:
        settings.write(f"{text}\n")
    print(f"log in to the dashboard as {name} with the password {password}")


def needs_dashboard() -> None:
    """Raise a SettingsError that says what to install where the dashboard's extra is missing."""
    try:
        import argon2  # noqa: F401, PLC0415
        import fastapi  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error.name} is not installed: pip install 'tocsin[dashboard]'"
        ) from None

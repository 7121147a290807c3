"""`tocsin schemas`: the reference documents generated from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.dashboard import needs_dashboard
from streams.errors import TocsinError
from streams.reference import api_page, as_text, documents
from streams.settings import Settings

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="The reference: records, API, settings, metrics, rights, commands.",
)


@app.callback()
def group() -> None:
    """Write the reference documents, or hold them against the code."""


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("docs/reference"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file is out of date.")
    ] = False,
) -> None:
    """Write JSON Schemas, AsyncAPI 3, OpenAPI, and the pages of the reference.

    They describe the default names, whatever the settings of this machine are.
    """
    texts = everything()
    if not check:
        out.mkdir(parents=True, exist_ok=True)
    stale = []
    for name, text in texts.items():
        path = out / name
        if check:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(str(path))
        else:
            path.write_text(text, encoding="utf-8")
            print(path)
    if stale:
        raise TocsinError(f"out of date: {', '.join(stale)}: run `tocsin schemas export`")


def everything() -> dict[str, str]:
    """Give the text of every reference document by its file name.

    Raises:
        SettingsError: the dashboard, whose API is one of them, is not installed.
    """
    needs_dashboard()
    from streams.cli.command_pages import commands_page  # noqa: PLC0415  imports every command
    from streams.cli.main import app as tocsin  # noqa: PLC0415  imports us
    from streams.dashboard.api.app import new_app  # noqa: PLC0415  imports the web server

    requests = new_app().openapi()
    return {
        **documents(Settings.model_construct()),
        "api.md": api_page(requests),
        "commands.md": commands_page(tocsin),
        "openapi.json": as_text(requests),
    }

"""`tocsin schemas`: the reference documents generated from the code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.errors import TocsinError
from streams.reference import documents
from streams.settings import Settings

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="JSON Schema and AsyncAPI of every record, and the rights of every part.",
)


@app.callback()
def group() -> None:
    """JSON Schema and AsyncAPI of every record."""


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("docs/reference"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file is out of date.")
    ] = False,
) -> None:
    """Write the JSON Schemas, the AsyncAPI 3 document and the page of rights.

    They describe the default topic names, whatever the settings of this machine are.
    """
    texts = documents(Settings.model_construct())
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

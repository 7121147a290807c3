"""`tocsin dead-letters`: what could not be processed, and why."""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.cli.letter_text import as_json, as_line, in_full, printable, utc
from streams.cli.options import moment_or_ago_ms
from streams.cli.start import start
from streams.dead_letters.index import Kind, Letter, Strangers, Tally, Wanted, find_letter
from streams.dead_letters.index import find_letters as find
from streams.errors import SettingsError
from streams.settings import Settings

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Look at what could not be processed.",
)

Topics = Annotated[
    list[str] | None,
    typer.Option("--topic", metavar="NAME", help="Only of this topic; may be repeated."),
]
Reason = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only where the reason holds this.")
]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Buried since: 2h for so long ago, or a date.")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Buried before, likewise.")]


@app.callback()
def group() -> None:
    """Look at what could not be processed."""


@app.command(name="list")
def list_(
    *,
    topic: Topics = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    each: Annotated[
        bool, typer.Option("--each", help="Every letter on a line of its own, not their kinds.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The N most frequent kinds, or the newest letters."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
) -> None:
    """Say what could not be processed, how often, since when, and why.

    Letters of one kind differ in numbers alone, for which their reason shows N. Times are UTC.
    """
    wanted = wanted_of(topic, reason, since, until)
    settings = start()
    if each:
        asyncio.run(_each(settings, wanted, limit, raw=json_))
    else:
        asyncio.run(_kinds(settings, wanted, limit, raw=json_))


@app.command()
def show(
    letter: Annotated[
        str, typer.Argument(metavar="LETTER", help="TOPIC:PARTITION:OFFSET, as list names it.")
    ],
    *,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the original bytes there.")
    ] = None,
) -> None:
    """Print one letter: the reason, where the record came from, its key, headers and bytes."""
    settings = start()
    found = asyncio.run(find_letter(settings, letter))
    for line in in_full(found):
        print(line)
    if save is None:
        return
    if found.content.value is None:
        raise SettingsError(f"{letter} has no bytes to --save: its value is null")
    try:
        save.write_bytes(found.content.value)
    except OSError as error:
        raise SettingsError(f"cannot write --save {save}: {error.strerror}") from None


def wanted_of(
    topics: list[str] | None, reason: str | None, since: str | None, until: str | None
) -> Wanted:
    """Say which letters the options choose."""
    return Wanted(
        topics=tuple(topics or ()),
        reason=reason,
        since_ms=None if since is None else moment_or_ago_ms(since),
        until_ms=None if until is None else moment_or_ago_ms(until),
    )


def warn_of(strangers: Strangers) -> None:
    """Say how many records were no letters."""
    if strangers.count:
        print(
            f"warning: {strangers.count} records are no dead letters, for example "
            f"{printable(strangers.example)}",
            file=sys.stderr,
        )


async def _each(settings: Settings, wanted: Wanted, limit: int | None, *, raw: bool) -> None:
    strangers = Strangers()
    letters = find(settings, wanted, strangers)
    if limit is not None:
        letters = _newest(letters, limit)
    async for letter in letters:
        print(json.dumps(as_json(letter)) if raw else as_line(letter), flush=True)
    warn_of(strangers)


async def _newest(letters: AsyncIterator[Letter], limit: int) -> AsyncIterator[Letter]:
    """The `limit` letters that were buried last, in order of time; holds no more than these."""
    heap: list[tuple[int, str, int, int, Letter]] = []
    async for letter in letters:
        item = letter.buried_at, letter.dead_topic, letter.partition, letter.offset, letter
        if len(heap) < limit:
            heapq.heappush(heap, item)
        else:
            heapq.heappushpop(heap, item)
    for *_, letter in sorted(heap, key=lambda item: item[:4]):
        yield letter


async def _kinds(settings: Settings, wanted: Wanted, limit: int | None, *, raw: bool) -> None:
    tally, strangers = Tally(), Strangers()
    async for letter in find(settings, wanted, strangers):
        tally.add(letter)
    kinds = tally.kinds()[:limit]
    if raw:
        for kind in kinds:
            print(json.dumps(asdict(kind)))
    elif kinds:
        Console(highlight=False).print(_table(kinds))
    else:
        print("no dead letters")
    warn_of(strangers)


def _table(kinds: list[Kind]) -> Table:
    table = Table("letters", "topic", "step", "first", "last", box=None, pad_edge=False)
    table.columns[0].justify = "right"
    table.add_column("newest", overflow="fold")
    table.add_column("reason", overflow="fold")
    for kind in kinds:
        words = (
            str(kind.letters),
            kind.topic,
            kind.step,
            utc(kind.first),
            utc(kind.last),
            kind.newest,
            kind.reason,
        )
        table.add_row(*(Text(printable(word)) for word in words))  # no markup in what is not ours
    return table

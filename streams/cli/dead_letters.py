"""`tocsin dead-letters`: what could not be processed, and why; and sent back."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.cli.dead_letters_replay import replay
from streams.cli.letter_options import Reason, Since, Topics, Until, wanted_of, warn_of
from streams.cli.letter_text import as_json, as_line, in_full, printable, utc
from streams.cli.start import start
from streams.dead_letters.index import Kind, Letter, Strangers, Tally, Wanted, find_letter
from streams.dead_letters.index import find_letters as find
from streams.errors import SettingsError
from streams.settings import Settings

app = typer.Typer(
    rich_markup_mode="markdown",
    no_args_is_help=True,
    help="Look at what could not be processed, and send it back.",
)


@app.callback()
def group() -> None:
    """Look at what could not be processed, and send it back."""


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
    Under "again" stands how many had been replayed before.
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


app.command()(replay)


async def _each(settings: Settings, wanted: Wanted, limit: int | None, *, raw: bool) -> None:
    strangers = Strangers()
    letters: AsyncIterator[Letter] = find(settings, wanted, strangers)
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
    table = Table("letters", "again", "topic", "step", "first", "last", box=None, pad_edge=False)
    table.columns[0].justify = table.columns[1].justify = "right"
    table.add_column("newest", overflow="fold")
    table.add_column("reason", overflow="fold")
    for kind in kinds:
        words = (
            str(kind.letters),
            str(kind.again),
            kind.topic,
            kind.step,
            utc(kind.first),
            utc(kind.last),
            kind.newest,
            kind.reason,
        )
        table.add_row(*(Text(printable(word)) for word in words))  # no markup in what is not ours
    return table

"""`tocsin dead-letters replay`: back to where they came from, after a fix."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.cli.letter_options import Reason, Since, Topics, Until, wanted_of, warn_of
from streams.cli.letter_text import printable
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.dead_letters.fate import Fate, Report
from streams.dead_letters.index import Strangers, find_letters, find_named
from streams.dead_letters.replay import replay as send_back
from streams.dead_letters.route import Order
from streams.dead_letters.sending import sending
from streams.errors import SettingsError


def replay(
    letters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LETTER]...", help="TOPIC:PARTITION:OFFSET, as list names them."),
    ] = None,
    *,
    topic: Topics = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Send the first N at most.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send them; without it nothing is sent or written.")
    ] = False,
    doubtful: Annotated[
        bool,
        typer.Option("--doubtful", help="Also what a run that was killed may have sent."),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was sent before.")] = False,
) -> None:
    """Send letters back to the topic and partition that they came from, byte by byte.

    To be used once what buried them is put right. What was sent is not sent again by a second run,
    nor by two at once; of a record that was buried twice one letter is. Exit 1 if a letter is in
    doubt or was refused.
    """
    if letters and (topic or reason or since or until):
        raise SettingsError("name letters, or choose them by --topic and the like, not both")
    settings, strangers, report = start(), Strangers(), Report()
    wanted = wanted_of(topic, reason, since, until)
    found = find_named(settings, letters) if letters else find_letters(settings, wanted, strangers)
    order = Order(doubtful=doubtful, again=again, limit=limit)

    async def run() -> None:
        if not yes:
            await send_back(settings, found, order, report)
            return
        with progress_bar("letters", limit) as advance:
            async with sending(settings.kafka) as send:
                await send_back(
                    settings, found, order, report, send=send, progress=lambda n: advance(n, "")
                )

    ended = False
    try:
        asyncio.run(run())
        ended = True
    finally:
        if ended or yes:  # also of a run that ends early one must know what it has sent
            _print(report, yes=yes)
            warn_of(strangers)
    if yes and (report.count(Fate.DOUBTFUL) or report.count(Fate.FAILED)):
        raise typer.Exit(1)


def _print(report: Report, *, yes: bool) -> None:
    rows = list(report.rows())
    if rows:
        table = Table("letters", "fate", "topic", "step", "newest", box=None, pad_edge=False)
        table.columns[0].justify = "right"
        table.add_column("reason", overflow="fold")
        for fate, why, kind in rows:
            words = f"{_word(fate, yes=yes)}: {why}" if why else _word(fate, yes=yes)
            texts = (str(kind.letters), words, kind.topic, kind.step, kind.newest, kind.reason)
            table.add_row(*(Text(printable(text)) for text in texts))  # no markup, as in list
        Console(highlight=False).print(table)
    counts = ", ".join(f"{report.count(fate)} {_word(fate, yes=yes)}" for fate in Fate)
    print(counts if yes else f"{counts}; nothing was sent: --yes sends")


def _word(fate: Fate, *, yes: bool) -> str:
    return "to be sent" if fate is Fate.SENT and not yes else fate.value

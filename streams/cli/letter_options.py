"""Which dead letters: options that the commands share."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streams.cli.letter_text import printable
from streams.cli.options import moment_or_ago_ms
from streams.dead_letters.index import Strangers, Wanted

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

"""What the benches have in common: their options and their servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.start import start

if TYPE_CHECKING:
    from streams.settings import Settings

Bootstrap = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="A Kafka that runs; Apache Kafka is started without."),
]
Redis = Annotated[
    str | None, typer.Option(metavar="URL", help="A Redis that runs; one is started without.")
]


@contextmanager
def bench(bootstrap: str | None, redis: str | None) -> Iterator[Settings]:
    """Give the settings of the command, on the servers that are named or started for it."""
    from streams.bench.servers import servers  # noqa: PLC0415
    from streams.bench.systems import on_servers  # noqa: PLC0415

    settings = start()
    with servers(bootstrap, redis) as running:
        yield on_servers(settings, running)

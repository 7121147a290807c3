"""`tocsin topics`: make the topics, and see whether they are as the settings say."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from streams.admin import TopicReport, connect
from streams.cli.start import start
from streams.settings import Settings
from streams.topics import topic_table

app = typer.Typer(
    rich_markup_mode="markdown", no_args_is_help=True, help="Make and inspect the Kafka topics."
)


@app.command()
def create(
    check: Annotated[
        bool,
        typer.Option("--check", help="Create nothing; exit 1 if a topic is missing or differs."),
    ] = False,
) -> None:
    """Create the topics that are missing; run it as often as you like.

    A topic that exists is never altered: where it differs from the settings, the difference is
    printed.
    """
    settings = start()
    reports = _reports(settings, create=not check)
    for report in reports:
        print(f"{report.name}: {report.state}, {report.partitions} partitions")
        for difference in report.drift:
            print(f"{report.name}: differs: {difference}")
    if check and any(report.drift or report.state == "missing" for report in reports):
        raise typer.Exit(1)


@app.command(name="list")
def list_() -> None:
    """List the topics, what they carry and whether they exist."""
    settings = start()
    purposes = {spec.name: spec.purpose for spec in topic_table(settings)}
    table = Table("topic", "state", "partitions", "carries", "differs", box=None, pad_edge=False)
    for report in _reports(settings, create=False):
        table.add_row(
            report.name,
            report.state,
            str(report.partitions),
            purposes[report.name],
            "; ".join(report.drift),
        )
    Console(highlight=False).print(table)


def _reports(settings: Settings, *, create: bool) -> list[TopicReport]:
    with connect(settings.kafka) as admin:
        return admin.ensure(topic_table(settings), create=create)

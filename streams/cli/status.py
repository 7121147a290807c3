"""`tocsin status`: who reads what, how far behind they are, and what workers wait for."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from streams.admin import KafkaAdmin, connect
from streams.cli.start import start
from streams.connection import KAFKA_ERRORS
from streams.errors import BrokerError, WorkerError
from streams.scrape import readiness
from streams.topics import readers


def status() -> None:
    """Say how many read each topic and how far behind they are, and what each worker waits for.

    Workers are those whose addresses `dashboard.workers` has.
    """
    settings = start()
    groups = Table("group", "topic", "members", "behind", box=None, pad_edge=False)
    with connect(settings.kafka) as admin:
        for group, topics in readers(settings, admin.groups()).items():
            for topic in topics:
                groups.add_row(group, topic, *_read(admin, group, topic))
    workers = Table("worker", "is", box=None, pad_edge=False)
    for address in settings.dashboard.workers:
        workers.add_row(address, _ready(address))
    console = Console(highlight=False)
    console.print(groups)
    console.print()
    console.print(workers)


def _read(admin: KafkaAdmin, group: str, topic: str) -> tuple[str, str]:
    """Give the members of `group` and its lag in records, or why nobody says.

    A broker that has just begun does not know of any group yet.
    """
    return _answer(lambda: admin.members(group)), _answer(lambda: admin.lag(group, topic))


def _answer(ask: Callable[[], int]) -> str:
    try:
        return f"{ask():,}"
    except (BrokerError, *KAFKA_ERRORS) as error:
        return str(error)


def _ready(address: str) -> str:
    try:
        return "; ".join(readiness(f"{address}/readyz")) or "ready"
    except WorkerError as error:
        return str(error)

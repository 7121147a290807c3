"""`tocsin state`: the state that the agents keep in Redis."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from streams import admin
from streams.cli.follow import follow
from streams.cli.options import Report, write_report
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.errors import SettingsError, TocsinError
from streams.settings import Settings
from streams.state.redis import RedisStateStore

app = typer.Typer(
    rich_markup_mode="markdown", no_args_is_help=True, help="Look after the agents' state in Redis."
)


@app.callback()
def group() -> None:
    """Look after the agents' state in Redis."""


@app.command()
def rebuild(
    agent: Annotated[
        Literal["fraud", "labels", "vision", "dashboard"], typer.Argument(help="Whose state.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Say how far the workers are, until they are ready.")
    ] = False,
) -> None:
    """Delete an agent's state, so that its next start rebuilds it from Kafka.

    The worker then reads its topic again from the oldest record; what it had processed before is
    applied without raising alerts again. The vision agent reads nothing again: its next start
    ends the alerts that are open. Stop the agent's workers first.

    How far workers are, `/readyz`, `tocsin status` and `--wait` say; start them meanwhile. The last
    two ask those whose addresses `dashboard.workers` has.
    """
    settings = start()
    if settings.redis.in_process:
        raise SettingsError("redis.url is memory://, which keeps no state to rebuild")
    if wait and agent == "dashboard":
        raise SettingsError("--wait asks workers: the dashboard's own /readyz says how far it is")
    if wait and not settings.dashboard.workers:
        raise SettingsError("--wait asks workers: set dashboard.workers to their addresses")
    name: str = getattr(settings, agent).group
    _refuse_while_in_use(settings, name)
    if not yes:
        if not sys.stdin.isatty():
            raise SettingsError("nobody to ask: give --yes")
        typer.confirm(f"Delete the state {name!r} in Redis?", abort=True)
    store = RedisStateStore(settings.redis, name)
    count = store.clear()
    store.close()
    then = "ends what is open" if agent == "vision" else "rebuilds them"
    who = agent if agent == "dashboard" else f"{agent} agent"
    print(f"deleted {count} keys of {name!r}: the next start of the {who} {then}", flush=True)
    if wait:
        follow(agent, settings.dashboard.workers)
        print(f"the {agent} workers are ready")


@app.command()
def adopt(
    old: Annotated[str, typer.Argument(metavar="GROUP", help="The fraud agent's group so far.")],
) -> None:
    """Let a new fraud.group begin where GROUP is: its workers rebuild up to there without alerts.

    For another network, or another version of Tocsin, beside the one that serves: start the new
    group's workers, and stop the old ones when they are ready. Meanwhile both raise alerts, under
    the same event ids. To go back, start the old group's workers again.
    """
    settings = start()
    new, topic = settings.fraud.group, settings.topics.transactions
    if new == old:
        raise SettingsError(f"fraud.group is {old!r} itself: set it to the new group's name")
    with admin.connect(settings.kafka) as cluster:
        begun = cluster.committed(new, topic)
        offsets = cluster.committed(old, topic)
        if begun or cluster.members(new):
            raise TocsinError(f"group {new!r} has begun already: give fraud.group a new name")
        if not offsets:
            raise TocsinError(f"group {old!r} has committed nothing of {topic!r}: check the name")
        cluster.commit(new, topic, offsets)
    print(f"{new!r} begins where {old!r} is: {sum(offsets.values()):,} records without alerts")


@app.command()
def forget(
    cards: Annotated[
        list[str], typer.Argument(metavar="CARD...", help="Ids; - reads them from lines of stdin.")
    ],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget what the fraud agent knows of cards, so that no rebuild brings it back either.

    A later payment of such a card is that of a new one. What is on Kafka stays until its topic's
    retention: transactions, alerts, verdicts. Cards are forgotten in every group that keeps state
    of the payments in this Redis (see `tocsin state adopt`): stop the workers of all of them first.
    """
    from streams import erasure  # noqa: PLC0415 - imports aiokafka

    settings = start()
    if settings.redis.in_process:
        raise SettingsError("redis.url is memory://, which keeps no state to forget")
    if cards == ["-"]:
        cards = [line.strip() for line in sys.stdin if line.strip()]
    if not cards or not all(cards):
        raise SettingsError("no card: name some, or give - and one a line")
    groups = asyncio.run(erasure.groups(settings))
    _refuse_while_in_use(settings, *groups)
    if not yes:
        if not sys.stdin.isatty():
            raise SettingsError("nobody to ask: give --yes")
        many = "s" * (len(cards) > 1)
        typer.confirm(f"Forget {len(cards)} card{many} in {', '.join(groups)}?", abort=True)
    rows = asyncio.run(erasure.forget(settings, cards, groups))
    _refuse_while_in_use(settings, *groups)
    print(
        f"cards forgotten: {len(cards)}, rows of state deleted: {rows}; what is on Kafka stays for "
        f"{settings.topics.retention_days} days at most, in dead letters for eight more"
    )


@app.command()
def check(
    *,
    cards: Annotated[int, typer.Option(min=1, help="About how many cards.")] = 1000,
    show: Annotated[int, typer.Option(min=0, help="Print so many of what is wrong.")] = 20,
    report: Report = None,
) -> None:
    """Score a sample of cards again from Kafka, and compare with what is stored.

    Workers may go on meanwhile. The exit status is 1 where a card is not as its payments make it.
    """
    from streams.audit import audit  # noqa: PLC0415 - imports torch

    settings = start()
    if settings.redis.in_process:
        raise SettingsError("redis.url is memory://, which keeps no state to check")
    with progress_bar("reading", None) as advance:
        found = asyncio.run(
            audit(settings, cards=cards, on_progress=lambda done: advance(done, "records"))
        )
    write_report(report, asdict(found))
    print(
        f"{found.cards} of {found.rows} cards compared over {found.records} records: "
        f"{found.right} right, {len(found.findings)} wrong, "
        f"{found.unknowable} older than what the topic retains"
    )
    for wrong in found.findings[:show]:
        print(f"partition {wrong.partition}, card {wrong.card}: {wrong.what}")
    if found.findings:
        sys.exit(1)


def _refuse_while_in_use(settings: Settings, *groups: str) -> None:
    """A worker that runs would be fenced at its next flush, restart, and rebuild: not by accident.

    Raises:
        TocsinError: a consumer group has members.
    """
    with admin.connect(settings.kafka) as cluster:
        for name in groups:
            if members := cluster.members(name):
                raise TocsinError(
                    f"group {name!r} has {members} member{'s' * (members > 1)}: stop its workers "
                    f"first (one that crashed counts for {settings.kafka.session_timeout_s:g} s "
                    "more)"
                )

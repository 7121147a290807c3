"""Several networks over one replay: every one of them a worker, all fed by one labels worker.

The replay goes through event time a day at a time and waits for all workers in between, so that
each scores what it would have scored live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.fraud.transactions import Transactions
from streams.admin import connect
from streams.bench.servers import Servers
from streams.bench.subject import Worker
from streams.bench.systems import forget, fresh, on_servers
from streams.bench.workload import CURRENCY, create_topic
from streams.producers.kafka import KeyedProducer
from streams.producers.play import Sent
from streams.producers.records import Labelling
from streams.producers.replay import GroupWait, play_in_lockstep
from streams.scored import read_scores
from streams.settings import Settings

DAY_MS = 86_400_000
STALL_S = 300.0


def streamed_scores(
    settings: Settings,
    servers: Servers,
    transactions: Transactions,
    models: Mapping[str, Path],
    *,
    label_delay_days: float,
    on_progress: Callable[[int, str], None],
) -> dict[str, NDArray[np.float32]]:
    """Send a history through Kafka and the agents.

    Args:
        settings: of the command; topics and groups are made for the run, state is deleted after it.
        servers: where the broker and the Redis are.
        transactions: N in order of time, with their verdicts.
        models: manifest of each network, by name.
        label_delay_days: from a transaction to its verdict.
        on_progress: called with the transactions sent and a note.

    Returns:
        (N,) scores of each network by its name.

    Raises:
        ServerFailed: a worker ended.
        Stuck: a worker does not advance.
        TocsinError: what was read back is no score.
    """
    settings = on_servers(settings, servers)
    groups = {name: fresh("streamed") for name in models}
    topics = settings.topics.model_copy(
        update={name: fresh(f"streamed-{name}") for name in ("transactions", "labels", "alerts")}
    )
    labels = settings.labels.model_copy(update={"group": fresh("streamed-labels")})
    settings = settings.model_copy(update={"topics": topics, "labels": labels})
    for topic in (
        *(topics.transactions, topics.labels, topics.alerts),
        *(f"{group}-scores" for group in groups.values()),
        *(f"{topic}{topics.dead_suffix}" for topic in (topics.transactions, topics.labels)),
    ):
        create_topic(settings.kafka, topic)
    with ExitStack() as stack:
        workers = {
            groups[name]: stack.enter_context(_worker("fraud", settings, groups[name], model))
            for name, model in models.items()
        }
        # Cards are the same whatever the network: the evidence on labels comes from the first.
        first = next(iter(groups.values()))
        workers[labels.group] = stack.enter_context(_worker("labels", settings, first, None))
        for worker in workers.values():
            worker.wait_for("tocsin_ready", 1, 120.0)
        labelling = Labelling(round(label_delay_days * DAY_MS), "case system")
        asyncio.run(_play(settings, transactions, labelling, list(groups.values()), on_progress))
    found = {}
    for name, group in groups.items():
        found[name] = asyncio.run(read_scores(settings.kafka, f"{group}-scores", transactions))
        forget(settings, group)
    forget(settings, labels.group, shared=True)
    return found


def _worker(agent: str, settings: Settings, group: str, model: Path | None) -> Worker:
    environment = {
        "TOCSIN_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "TOCSIN_REDIS__URL": settings.redis.url,
        "TOCSIN_TOPICS__TRANSACTIONS": settings.topics.transactions,
        "TOCSIN_TOPICS__LABELS": settings.topics.labels,
        "TOCSIN_TOPICS__ALERTS": settings.topics.alerts,
        "TOCSIN_TOPICS__SCORES": f"{group}-scores",
        "TOCSIN_FRAUD__GROUP": group,
        "TOCSIN_FRAUD__CURRENCY": CURRENCY,
        "TOCSIN_FRAUD__PUBLISH_SCORES": "true",
        "TOCSIN_FRAUD__THRESHOLD": "1.0",
        "TOCSIN_LABELS__GROUP": settings.labels.group,
        "TOCSIN_LABELS__FIGURES_DAYS": "0",
        **({} if model is None else {"TOCSIN_FRAUD__MODEL": str(model.resolve())}),
    }
    return Worker(agent, environment)


async def _play(
    settings: Settings,
    transactions: Transactions,
    labelling: Labelling,
    groups: list[str],
    on_progress: Callable[[int, str], None],
) -> None:
    """Replay in lockstep: a step is over when every group has committed it."""
    with ExitStack() as stack:
        admin = await asyncio.to_thread(stack.enter_context, connect(settings.kafka))
        async with KeyedProducer(settings.kafka) as producer:
            one = GroupWait(admin.committed, producer.ends, STALL_S)

            async def wait(group: str, topic: str) -> None:
                for each in groups if topic == settings.topics.transactions else [group]:
                    await one(each, topic)

            def progress(sent: Sent) -> None:
                on_progress(sent.transactions, f"{sent.labels} labels")

            await play_in_lockstep(
                producer,
                settings,
                transactions,
                step_ms=DAY_MS,
                labelling=labelling,
                wait=wait,
                progress=progress,
            )

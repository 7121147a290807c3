"""What every system under test is given: card transactions on a preloaded topic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from models.fraud.simulator import SimulatorConfig
from models.fraud.transactions import Transactions
from streams.admin import connect
from streams.errors import SettingsError
from streams.producers.files import HANDBOOK, read_transactions
from streams.producers.kafka import KeyedProducer
from streams.producers.records import transaction_records
from streams.producers.transactions import simulated_days
from streams.settings import KafkaSettings
from streams.topics import TopicSpec

PARTITIONS: Final = 4
CURRENCY: Final = "EUR"


def transactions(data: Path | None, count: int) -> Transactions:
    """Read the first `count` transactions of a file, or simulate them, always the same ones.

    Raises:
        SettingsError: the file cannot be read or has fewer.
    """
    if data is None:
        return _simulated(count)
    found = read_transactions(data, HANDBOOK)
    if len(found) < count:
        raise SettingsError(f"{data} has {len(found)} transactions: give --count {len(found)}")
    return tokenised(found.take(slice(count)))


def _simulated(count: int) -> Transactions:
    parts: list[Transactions] = []
    have = 0
    for day in simulated_days(SimulatorConfig()):
        parts.append(day)
        have += len(day)
        if have >= count:
            break
    return tokenised(Transactions.concat(parts).take(slice(count)))


def on_new_cards(sample: Transactions, count: int, cards: int) -> Transactions:
    """Give `count` transactions like those of `sample`, over `cards` cards that take turns."""
    place = np.arange(count)
    return tokenised(replace(sample.take(place % len(sample)), tx_id=place, card_id=place % cards))


def tokenised(rows: Transactions) -> Transactions:
    """Give numbered ids the form of tokens: a record has about 160 bytes then."""
    return replace(
        rows,
        tx_id=_tokens("tx-", rows.tx_id),
        card_id=_tokens("card-", rows.card_id),
        terminal_id=_tokens("term-", rows.terminal_id),
    )


def _tokens(prefix: str, ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if ids.dtype.kind not in "iu":
        return ids
    return np.array([f"{prefix}{number:010d}" for number in ids.tolist()], object)


def create_topic(kafka: KafkaSettings, name: str, config: Mapping[str, str] | None = None) -> None:
    """Create a topic of `PARTITIONS` partitions."""
    with connect(kafka) as cluster:
        cluster.ensure([TopicSpec(name, "a measurement", PARTITIONS, 1, config or {})])


def preload(kafka: KafkaSettings, topic: str, rows: Transactions) -> None:
    """Create `topic` and produce `rows` to it, keyed by card; all of it is durable on return."""
    create_topic(kafka, topic)

    async def send() -> None:
        async with KeyedProducer(kafka) as producer:
            await producer.send_many(topic, transaction_records(rows, CURRENCY))

    asyncio.run(send())

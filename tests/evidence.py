"""Alerts with real evidence: the agents' own networks over simulated payments and streets.

The agents run in this process, batch by batch, over the Redis and the topics of a bed, so what
stands in them is what workers leave there, and the same each time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace as with_fields
from typing import Any

import msgspec
import numpy as np

from models.fraud.simulator import DAY_MS, SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from models.vision.images import encode as jpeg
from models.vision.scenes.camera import StreetCamera
from streams.app.agent import AgentName
from streams.app.build import build_agent
from streams.pipeline.batch import Batch, Message, Outcome
from streams.producers.records import Labelling, label_records, transaction_records
from streams.producers.sink import Record
from streams.schemas import Alert, decode_alert
from streams.state.store import Identity
from streams.status import Status
from tests.fakes.pictures import frame
from tests.fakes.records import FakeRecord
from tests.worker import Bed, Produced

DAYS = 40
LABEL_DELAY_MS = 7 * DAY_MS
WORLD = SimulatorConfig(
    customers=150, terminals=120, radius=20.0, compromised_terminals=1, compromised_cards=1, seed=3
)
FRAME_MS = 200
THRESHOLD = 0.7


class Running:
    """One agent over the bed's Redis; everything is on partition 0."""

    def __init__(self, bed: Bed, name: AgentName) -> None:
        settings = bed.settings
        changed = {  # lower, for alerts of every severity; and no frame is too old
            "fraud": settings.fraud.model_copy(update={"threshold": THRESHOLD}),
            "vision": settings.vision.model_copy(update={"policy": "keep-all", "threads": 1}),
        }
        self.agent = build_agent(name, settings.model_copy(update=changed), Status())
        self._sequence, self._offset = 0, 0
        if name == "fraud":
            self.agent.store.identify(_identity(bed))
        self.agent.store.claim([0], 1)

    def take(self, records: Sequence[FakeRecord]) -> Outcome:
        """Put one batch through, and store what it changed."""
        self._sequence += 1
        found: list[Any] = list(records)
        batch = Batch(found, np.zeros(len(found), np.int32), self._sequence)
        detector = self.agent.detector
        outcome: Outcome = detector.infer(detector.prepare(batch))
        for snapshot in detector.pack(detector.freeze(self._sequence), batch.ends):
            self.agent.store.flush(snapshot)
        detector.flushed(self._sequence)
        return outcome

    def take_records(self, records: Iterator[Record]) -> Outcome:
        """Put records as a producer makes them through; offsets go on."""
        made = [
            FakeRecord(self._offset + place, value, key)
            for place, (key, value) in enumerate(records)
        ]
        self._offset += len(made)
        return self.take(made) if made else Outcome()


def frauds(bed: Bed, count: int) -> list[Alert]:
    """`count` alerts that the bundled network raises, with all payments and scores on the topics.

    All of a card or none, so that a score above the threshold is an alert's; first of the cards
    with an alert for which several things speak.
    """
    topics = bed.settings.topics
    history = _until_now(simulate(WORLD, DAYS))
    fraud, labels = Running(bed, "fraud"), Running(bed, "labels")
    sent: list[Produced] = []
    messages: list[Message] = []
    first = int(history.event_time[0])
    for day in range(DAYS):
        start = first + day * DAY_MS
        known = _between(history, start - LABEL_DELAY_MS, start - LABEL_DELAY_MS + DAY_MS)
        labels.take_records(label_records(known, Labelling(LABEL_DELAY_MS, "simulator")))
        records = list(transaction_records(_between(history, start, start + DAY_MS), "EUR"))
        sent += [Produced(value, key, partition=0) for key, value in records]
        messages += fraud.take_records(iter(records)).messages
    for topic in (topics.transactions, topics.scores):
        mine = sent if topic == topics.transactions else _produced(messages, topic)
        bed.produce(topic, mine)
    found = [decode_alert(one.value or b"") for one in messages if one.topic == topics.alerts]
    return of_whole_cards(found, count)


def of_whole_cards(alerts: Sequence[Alert], count: int) -> list[Alert]:
    """Choose `count` alerts in order of time, of each card all or none, and of several cards."""
    by_card: dict[str, list[Alert]] = {}
    for alert in sorted(alerts, key=besides, reverse=True):
        by_card.setdefault(alert.entity, []).append(alert)
    chosen: list[Alert] = []
    for mine in by_card.values():
        if len(mine) <= max(count // 3, 1) and len(chosen) + len(mine) <= count:
            chosen += mine
    assert len(chosen) == count, f"{len(chosen)} alerts of whole cards, not {count}"
    return sorted(chosen, key=lambda alert: alert.event_time)


def besides(alert: Alert) -> float:
    """How much speaks for an alert besides its first reason."""
    return sum(reason.contribution for reason in alert.reasons[1:])


def objects(bed: Bed, cameras: Mapping[str, int]) -> list[tuple[Alert, bytes]]:
    """For each camera, by its seed, what the bundled detector sees first, and on which frame."""
    vision = Running(bed, "vision")
    found, last = dict[str, tuple[Alert, bytes]](), round(time.time() * 1000)
    for step in range(300):
        at = step * FRAME_MS
        records = [
            frame(
                step * len(cameras) + place,
                jpeg(StreetCamera(seed).frame(at / 1000)[0]),
                camera_id=name,
                captured_at=last - 60_000 + at,
                source="simulated",
            )
            for place, (name, seed) in enumerate(cameras.items())
            if name not in found
        ]
        seen = {(record.key or b"").decode(): record.value or b"" for record in records}
        told = [decode_alert(one.value or b"") for one in vision.take(records).held]
        for alert in told:
            if alert.status == "new":
                found.setdefault(alert.entity, (alert, seen[alert.entity]))
        if len(found) == len(cameras):
            break
    return [found[name] for name in cameras]


def _until_now(history: Transactions) -> Transactions:
    """The history moved in time, by whole days, so that it ends yesterday."""
    days = (round(time.time() * 1000) - int(history.event_time[-1])) // DAY_MS
    cards = np.array([f"card-{number:04d}" for number in history.card_id.tolist()], object)
    shops = np.array([f"shop-{number:03d}" for number in history.terminal_id.tolist()], object)
    return with_fields(
        history,
        event_time=history.event_time + days * DAY_MS,
        card_id=cards,
        terminal_id=shops,
    )


def _between(history: Transactions, first: int, last: int) -> Transactions:
    begin, end = np.searchsorted(history.event_time, [first, last])
    return history.take(slice(int(begin), int(end)))


def _produced(messages: Sequence[Message], topic: str) -> list[Produced]:
    return [Produced(one.value, one.key, partition=0) for one in messages if one.topic == topic]


def _identity(bed: Bed) -> bytes:
    return Identity(
        group=bed.settings.fraud.group,
        cluster="c",
        topic=bed.settings.topics.transactions,
        topic_id=None,
        partitions=bed.settings.topics.partitions,
        model="m",
    ).encode()


def moved(alerts: Sequence[Alert], every_ms: int) -> list[Alert]:
    """The same alerts as if they had been raised one after the other until now."""
    now = round(time.time() * 1000)
    return [
        msgspec.structs.replace(alert, processed_at=now - every_ms * (len(alerts) - place))
        for place, alert in enumerate(alerts)
    ]

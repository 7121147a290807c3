"""Holds the cards' state against Kafka: a sample of them, scored again from the log, and compared.

A card is in the sample when its digest lies below a bound: whoever looks at the rows and whoever
looks at the topic means the same cards, so a row that is missing is found as well as a wrong one
and one that nobody's events account for. Workers may run meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.fraud.features import CARD_STATE
from streams import admin
from streams.app.fraud import FLOAT_BYTES, build_fraud
from streams.cluster import identity_of
from streams.dead_letters.buried import find_buried
from streams.erasure import recall
from streams.errors import TocsinError
from streams.pipeline.batch import Batch
from streams.pipeline.dead_letter import Buried
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS, Record, decode_transaction
from streams.settings import Settings
from streams.state.redis import RedisStateStore
from streams.state.sketch import KEYS as SKETCH_KEYS
from streams.state.store import DIGEST_BYTES, digest
from streams.state.table import parse_rows, row_dtype
from streams.status import Status

MEMORY_TOLERANCE = 1e-3
"""The network's memory depends on the batches in its last bits; an event too many or too few moves
it by a hundredth and more."""

_MARGIN = 2
"""The sample is a little larger or smaller than asked for; so many times as large it never is."""

_BLOBS = frozenset(key.tobytes() for key in SKETCH_KEYS)
"""Rows of the alert budget, no cards'."""

Key = tuple[int, bytes]
"""Partition and digest of a card."""

OnProgress = Callable[[int], None]
"""Called with the records read so far."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A card whose row is not what its events make of it."""

    partition: int
    card: str
    """Its id, or its digest in hexadecimal where no event of it is there."""

    what: str


@dataclass(slots=True)
class Audit:
    """What a check found."""

    records: int = 0
    """Of the topic, read."""

    rows: int = 0
    """In the state."""

    right: int = 0
    unknowable: int = 0
    """Cards whose history begins before what the topic retains."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def cards(self) -> int:
        """Cards compared."""
        return self.right + self.unknowable + len(self.findings)


async def audit(settings: Settings, *, cards: int, on_progress: OnProgress) -> Audit:
    """Compare the state of about `cards` cards with what their payments make of them.

    Raises:
        BrokerError: no broker answers, or the topic does not exist.
        StoreUnavailable: no Redis answers.
        ForeignState: the state belongs to another topic, cluster or model.
        TocsinError: there is no state.
    """
    sample = _Sample(settings, cards)
    topic = settings.topics.transactions
    # 1. What is stored, and what is not for having been forgotten or buried.
    about = await admin.describe(settings.kafka, topic)
    found = Audit(rows=sample.read(about))
    await recall(sample.agent, settings.kafka, about.topic_id)
    ends = await admin.log_ends(settings.kafka, topic)
    buried = await find_buried(settings, topic, {one: range(end) for one, end in ends.items()})

    # 2. What the topic makes of it.
    async for records in read_topic(settings.kafka, topic, from_beginning=True, follow=False):
        partition = records[0].partition
        sample.score(partition, records, buried[partition])
        found.records += len(records)
        on_progress(found.records)

    # 3. The difference.
    sample.compare(found)
    return found


class _Sample:
    """Cards as they are stored, and as a detector of its own scores them."""

    def __init__(self, settings: Settings, cards: int) -> None:
        alone = settings.model_copy(
            update={
                "redis": settings.redis.model_copy(update={"url": "memory://"}),
                "fraud": settings.fraud.model_copy(
                    update={
                        "capacity": max(2 * settings.delivery.max_batch, 2 * _MARGIN * cards),
                        "policy": "threshold",
                        "alerts_per_day": None,
                    }
                ),
            }
        )
        self._settings, self._cards = settings, cards
        self.agent = build_fraud(alone, Status(), lambda store: store)
        self._bound = 1 << 64
        self._markers: dict[int, int] = {}
        self._earliest: dict[int, int] = {}
        self._ids: dict[Key, str] = {}
        self._stored: dict[Key, bytes] = {}
        self._offsets: dict[Key, int] = {}
        self._sequence = 0

    # -- what is stored -------------------------------------------------------------------------
    def read(self, topic: admin.TopicIdentity) -> int:
        """Read rows and markers; return how many rows there are."""
        store = RedisStateStore(self._settings.redis, self._settings.fraud.group)
        try:
            if store.identity() is None:
                raise TocsinError(f"there is no state in {self._settings.fraud.group!r}")
            store.identify(identity_of(self.agent, topic))
            # Markers first: a row is then at least as new as the marker says.
            markers = store.markers(range(topic.partitions))
            self._markers = {p: -1 if at is None else at for p, at in markers.items()}
            rows = {key for key in store.scan() if key[1] not in _BLOBS}
            self._bound = self._cards * (1 << 64) // max(len(rows), self._cards)
            chosen = [key for key in rows if self._is_chosen(key[1])]
            homes = np.array([partition for partition, _ in chosen], np.int32)
            names = np.frombuffer(b"".join(name for _, name in chosen), np.uint8)
            values = store.load(homes, names.reshape(len(chosen), DIGEST_BYTES))
        finally:
            store.close()
        self._stored = {
            key: value for key, value in zip(chosen, values, strict=True) if value is not None
        }
        records = self._parsed(list(self._stored.values()))[0]
        self._offsets = dict(zip(self._stored, records["offset"].tolist(), strict=True))
        return len(rows)

    def _is_chosen(self, name: bytes) -> bool:
        return int.from_bytes(name[:8]) < self._bound

    def _parsed(self, values: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Records (N,) and memories (N, H) of rows."""
        record, table = row_dtype(CARD_STATE), self.agent.table
        tail = 0 if table is None else table.tail_bytes
        if not values:
            return np.zeros(0, record), np.zeros((0, tail // FLOAT_BYTES), np.float32)
        records, tails = parse_rows(values, record, tail)
        return records, np.ascontiguousarray(tails).view("<f4")

    # -- what Kafka makes of it -----------------------------------------------------------------
    def score(self, partition: int, records: list[Record], buried: Buried) -> None:
        """Apply what `records` hold of the cards of the sample, up to where the state has come."""
        self._earliest.setdefault(partition, records[0].offset)
        mine = [one for one in buried.without(records) if self._is_mine(partition, one)]
        step = self.agent.max_batch
        for part in (mine[i : i + step] for i in range(0, len(mine), step)):
            homes = np.full(len(part), partition, np.int32)
            quiet = {partition: part[-1].offset + 1}
            detector = self.agent.detector
            detector.infer(detector.prepare(Batch(part, homes, self._sequence, quiet)))
            self._sequence += 1

    def _is_mine(self, partition: int, record: Record) -> bool:
        try:
            card = decode_transaction(record.value or b"").card_id
        except DECODE_ERRORS:
            return False
        key = partition, digest(card)
        if not self._is_chosen(key[1]):
            return False
        if record.offset > max(self._markers.get(partition, -1), self._offsets.get(key, -1)):
            return False  # not applied yet
        if key not in self._ids and len(self._ids) < _MARGIN * self._cards:
            self._ids[key] = card
        return key in self._ids

    # -- the difference -------------------------------------------------------------------------
    def compare(self, found: Audit) -> None:
        """Say of each card whether its row is right."""
        detector = self.agent.detector
        frozen = detector.freeze(self._sequence)
        snapshots = detector.pack(frozen, dict.fromkeys(self._markers, 0))
        scored = {
            (snapshot.partition, name.tobytes()): value.tobytes()
            for snapshot in snapshots
            for name, value in zip(snapshot.digests, snapshot.values, strict=True)
        }
        whole = scored.keys() & self._stored.keys()
        for key in sorted(scored.keys() - self._stored.keys()):
            found.findings.append(self._finding(key, "has no row"))
        for key in sorted(self._stored.keys() - scored.keys()):
            if self._earliest.get(key[0], 1):
                found.unknowable += 1
            else:
                found.findings.append(self._finding(key, "has a row and no payment"))
        keys = sorted(whole)
        held, memory = self._parsed([self._stored[key] for key in keys])
        made, expected = self._parsed([scored[key] for key in keys])
        off = np.abs(memory - expected).max(axis=1, initial=0.0)
        for place, key in enumerate(keys):
            what = _difference(held[place], made[place], float(off[place]))
            if not what:
                found.right += 1
            elif (
                self._earliest.get(key[0])
                and held[place]["state"]["count"] > made[place]["state"]["count"]
            ):
                found.unknowable += 1
            else:
                found.findings.append(self._finding(key, what))

    def _finding(self, key: Key, what: str) -> Finding:
        return Finding(key[0], self._ids.get(key, key[1].hex()), what)


def _difference(held: Any, made: Any, off: float) -> str:
    """Say in what a row differs from what its events make of it; empty where it does not."""
    then, now = (int(row["offset"]) for row in (held, made))
    counts = [int(row["state"]["count"]) for row in (held, made)]
    if (then, counts[0]) != (now, counts[1]):
        return f"{counts[0]} payments up to offset {then}, Kafka has {counts[1]} up to {now}"
    for name in CARD_STATE.names or ():
        if not np.allclose(held["state"][name], made["state"][name], rtol=1e-6, atol=1e-6):
            return f"{name} is {held['state'][name]}, not {made['state'][name]}"
    return "" if off <= MEMORY_TOLERANCE else f"the network's memory is off by {off:.2g}"

"""Workers under one alert budget over one store in memory, fed with scores instead of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.pipeline.budget import Budget
from streams.pipeline.policy import AlertBudget
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.store import PartitionSnapshot, digests

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 20_000 * DAY_MS
COLD = 0.8


@dataclass(frozen=True)
class Scores:
    """N scored transactions in the order in which they reach Kafka."""

    event_time: NDArray[np.int64]
    score: NDArray[np.float32]
    partition: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.score)

    def take(self, index: NDArray[np.int64] | slice) -> Scores:
        return Scores(self.event_time[index], self.score[index], self.partition[index])


def stream(
    days: int,
    *,
    volume: int = 4000,
    partitions: int = 4,
    drift: float = 0.0,
    seed: int = 0,
) -> Scores:
    """Few by night and many by day, fewer at the week's end; logits rise by `drift` a day."""
    rng = np.random.default_rng(seed)
    times, logits = [], []
    for day in range(days):
        count = rng.poisson(volume * (0.7 if day % 7 >= 5 else 1.0))
        hour = np.clip(rng.normal(13.0, 4.5, count), 0.0, 23.999)
        times.append(START_MS + day * DAY_MS + (np.sort(hour) * HOUR_MS).astype(np.int64))
        logit = rng.normal(-4.0 + drift * day, 1.6, count)
        fraud = rng.random(count) < 0.01
        logit[fraud] = rng.normal(2.0, 2.0, int(fraud.sum()))
        logits.append(logit)
    time, logit = np.concatenate(times), np.concatenate(logits)
    score = (1.0 / (1.0 + np.exp(-logit))).astype(np.float32)
    home = rng.integers(0, partitions, len(time)).astype(np.int32)
    return Scores(time, score, home)


class DeskWorker:
    """One worker's policy; flushes and dies when told to."""

    def __init__(self, desk: Desk, partitions: Sequence[int]) -> None:
        self.desk, self.partitions = desk, list(partitions)
        self.store = MemoryStateStore(desk.server)
        desk.generation += 1
        self.store.claim(self.partitions, desk.generation)
        self.policy = AlertBudget(self.store, budget=desk.budget, cold=COLD)
        self.policy.sized(desk.partitions)
        self.unflushed: list[NDArray[np.int64]] = []

    def take(self, index: NDArray[np.int64]) -> None:
        """Decide about the transactions at `index` of the stream; alerts go out at once."""
        part = self.desk.scores.take(index)
        limits = self.policy.thresholds(part.score, part.event_time, part.partition)
        self.unflushed.append(index)
        for place in index[part.score >= limits].tolist():
            self.desk.alerts.setdefault(place, 0)
            self.desk.alerts[place] += 1

    def flush(self) -> None:
        """Store what there is to store, one transaction for each partition."""
        self.desk.flushes += 1
        empty = np.empty((0, 8), np.uint8)
        snapshots = [
            PartitionSnapshot(p, digests([]), empty, self.desk.flushes) for p in self.partitions
        ]
        for snapshot in self.policy.stored(snapshots):
            self.store.flush(snapshot)
        self.unflushed.clear()

    def restarted(self) -> DeskWorker:
        """Die without a flush; the successor replays what was not stored, in other batches."""
        successor = DeskWorker(self.desk, self.partitions)
        again = self.unflushed
        for index in again:
            half = len(index) // 3
            successor.take(index[:half])
            successor.take(index[half:])
        return successor


@dataclass
class Desk:
    """What outlives the workers, and what went out: each alert, and how often."""

    scores: Scores
    budget: Budget
    partitions: int = 4
    server: MemoryServer = field(default_factory=MemoryServer)
    alerts: dict[int, int] = field(default_factory=dict)
    generation: int = 0
    flushes: int = 0

    def workers(self, count: int) -> list[DeskWorker]:
        homes = range(self.partitions)
        return [DeskWorker(self, homes[first::count]) for first in range(count)]

    def run(
        self, workers: list[DeskWorker], *, batch: int = 300, die_every: int = 10**9
    ) -> list[DeskWorker]:
        """Feed the whole stream; every `die_every` batches one worker dies unflushed."""
        turn = 0
        for number, index in enumerate(self._batches(batch)):
            for place, worker in enumerate(workers):
                mine = index[np.isin(self.scores.partition[index], worker.partitions)]
                if len(mine):
                    worker.take(mine)
                turn += 1
                if turn % die_every == 0:
                    workers[place] = worker.restarted()
                if (number + place) % 3 == 0:
                    workers[place].flush()
        for worker in workers:
            worker.flush()
        return workers

    def a_day(self) -> NDArray[np.int64]:
        """Different alerts by day of event time."""
        places = np.array(sorted(self.alerts), np.int64)
        days = (self.scores.event_time - START_MS) // DAY_MS
        return np.bincount(days[places], minlength=int(days[-1]) + 1)

    def _batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        for begin in range(0, len(self.scores), size):
            yield np.arange(begin, min(begin + size, len(self.scores)))

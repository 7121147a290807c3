"""What the processes of one history share, and the sizes that it is played with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from streams.metrics import Metrics
from streams.pipeline.job import Limits
from streams.simulation.broker import Broker
from streams.simulation.check import Check
from streams.simulation.clock import Clock
from streams.simulation.consumer import ConsumerLimits
from streams.simulation.faults import Faults
from streams.simulation.store import Server
from streams.simulation.trace import Trace


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes and times of one history."""

    partitions: int
    workers: int
    keys: int
    events: int
    storm_s: float
    """Virtual seconds in which events come and things go wrong."""

    limits: Limits
    consumer: ConsumerLimits
    capacity: int
    session_s: float
    rebalance_s: float
    delay_s: float
    """Mean of what a message, or a call on a thread, takes."""

    is_static: bool
    """Whether workers are static members of the group."""

    has_outbox: bool
    """Whether alerts wait in an outbox for their flush, as those of video do."""

    @classmethod
    def draw(cls, random: Random, *, is_large: bool | None = None) -> Shape:
        """Draw one; small batches and tables make for many steps between which to fail.

        A few have many events in large batches, for what only numbers bring about; all have if
        `is_large`, and none if it is False.
        """
        drawn = random.random() < 0.03
        is_wide = drawn if is_large is None else is_large
        max_batch = 256 if is_wide else random.choice((4, 8, 16, 48))
        capacity = 2 * max_batch * random.choice((1, 1, 2))
        return cls(
            partitions=random.randint(1, 4),
            workers=random.randint(1, 3),
            keys=400 if is_wide else random.choice((3, 10, 40)),
            events=20_000 if is_wide else random.choice((60, 200, 200, 600)),
            storm_s=random.choice((2.0, 4.0, 8.0)),
            limits=Limits(
                max_batch=max_batch,
                max_unflushed=capacity // 2,
                flush_interval_s=random.choice((0.1, 0.2, 0.5)),
            ),
            consumer=ConsumerLimits(
                max_batch=max_batch,
                fetch=max_batch * random.choice((1, 2)),
                commit_interval_s=random.choice((0.2, 0.5, 1.5)),
                drain_timeout_s=random.choice((1.0, 4.0)),
            ),
            capacity=capacity,
            session_s=random.choice((0.5, 1.5)),
            rebalance_s=random.choice((1.0, 5.0)),
            delay_s=random.choice((0.002, 0.01, 0.03)),
            is_static=random.random() < 0.3,
            has_outbox=random.random() < 0.4,
        )


@dataclass(frozen=True, slots=True)
class World:
    """Time, chance, the servers, the judge, and what is written down."""

    random: Random
    shape: Shape
    clock: Clock
    faults: Faults
    broker: Broker
    server: Server
    check: Check
    metrics: Metrics
    poison: frozenset[bytes]
    """Values that no network can score."""

    trace: Trace
    ends: Counter[str] = field(default_factory=Counter)
    """Of processes, by what they ended of."""

    def delay(self) -> float:
        """Draw how long a message takes, or a call on a thread."""
        mean = self.shape.delay_s
        if self.faults.strikes("slow"):
            mean *= 50
        return self.random.expovariate(1 / mean)

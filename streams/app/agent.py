"""What an agent is made of, and what the three have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from streams.agents.resume import ResumeObjects
from streams.errors import SettingsError
from streams.frame_metrics import FrameMetrics
from streams.metrics import Metrics
from streams.pipeline.batch import CameraWatcher, Detector
from streams.schemas import ModelRef
from streams.settings import Settings
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.redis import RedisStateStore
from streams.state.store import StateStore
from streams.state.table import EntityTable

AgentName = Literal["fraud", "labels", "vision"]
Patience = Callable[[StateStore], StateStore]
"""Wraps a store so that an outage becomes a named wait."""


@dataclass(frozen=True, slots=True)
class Agent:
    """What makes one agent out of the shared machinery."""

    name: AgentName
    topic: str
    group: str
    """Kafka consumer group and Redis namespace."""

    store: StateStore
    detector: Detector
    model: str
    """Identity of the weights that the state belongs to; empty for an agent without a network."""

    max_batch: int
    max_unflushed: int
    """Records that may be read and not yet flushed."""

    serves: ModelRef | None = None
    """The network by name, for people; None for an agent without one."""

    table: EntityTable | None = None
    """Its rows, where they are of one width."""

    batch_wait_s: float = 0.0
    gc_thresholds: tuple[int, int, int] = (200_000, 50, 1000)
    """Of the garbage collector, with everything from start-up frozen: collections during record
    creation cost a quarter."""

    resume: ResumeObjects | None = None
    """For an agent with an outbox, whose state is not rebuilt from the topic."""

    beside: tuple[str, ...] = ()
    """Topics in which what becomes of a record has the number of the record's partition."""

    erasures: str = ""
    """The topic that says what of its entities is forgotten; empty where nothing ever is."""

    watcher: CameraWatcher | None = None
    """For an agent that follows cameras."""

    metrics: FrameMetrics | None = None

    sized: Callable[[int], object] = lambda partitions: None
    """Told the number of the topic's partitions, before anything of it is consumed."""

    observe: Callable[[Metrics], object] = lambda metrics: None
    """Has the agent publish figures of its own."""


def open_store(
    settings: Settings, group: str, *, shared: bool, server: MemoryServer | None = None
) -> StateStore:
    """Open the store of a namespace as `settings.redis` says."""
    if settings.redis.in_process:
        return MemoryStateStore(server, shared=shared)
    return RedisStateStore(settings.redis, group, shared=shared)


def check_capacity(name: str, capacity: int, settings: Settings) -> None:
    """Refuse a table that a worker under load would fill with unflushed rows and end on."""
    least = 2 * settings.delivery.max_batch
    if capacity < least:
        raise SettingsError(
            f"{name} ({capacity}) must be at least {least}, twice delivery.max_batch: half of the "
            "rows may be unflushed, and one batch may need as many again"
        )


def unflushed(table: EntityTable) -> int:
    """Half the rows may be unflushed: the other half can be evicted for new ones."""
    return table.capacity // 2

"""One worker process: checks first, then joins the group, serves until told to stop.

The checks come before joining, so a worker that cannot work (no Redis, a damaged model, the state
of another topic) says why on ``/readyz``, tries again, and holds no partition meanwhile.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from models.errors import ModelError
from streams import admin
from streams.app.agent import Agent, AgentName
from streams.app.build import build_agent, observe
from streams.cluster import identity_of
from streams.errors import BrokerError, ForeignState, TocsinError
from streams.figures import LiveFigures
from streams.health import HealthServer
from streams.metrics import Metrics
from streams.pipeline.assignment import check_marker
from streams.session import Session
from streams.settings import Settings
from streams.state.patient import PatientStateStore
from streams.status import Status

log = logging.getLogger(__name__)

T = TypeVar("T")

MALLOC_ARENAS = 2
"""glibc gives each thread an arena of its own, and batches that are made on one and freed on
another leave holes in all of them: 15 % more memory at no more speed."""

MALLOC_MMAP_BYTES = 256 * 1024
"""Arrays of a batch from this size on are mapped one by one and given back one by one. By default
glibc raises the size to that of the largest array freed, and then cuts arrays of a batch from a
heap that small blocks keep from shrinking. Not for the agent that sees: each layer of its network
in torch makes arrays of megabytes and frees them within milliseconds, and to map them one by one
took 12,600 page faults a frame instead of 1,100, half of its CPU time on a busy machine."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of malloc.h


class Worker:
    """Runs one agent in this process."""

    def __init__(self, name: AgentName, settings: Settings) -> None:
        self._name, self._settings = name, settings
        self._status = Status()
        self._metrics = Metrics(name)
        self._stop = threading.Event()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; return the exit status."""
        _tune_malloc(self._name)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        health = HealthServer(self._settings.health, self._status, self._metrics.registry)
        with health:
            log.info(
                "%s worker: health and metrics on http://%s:%d",
                self._name,
                self._settings.health.host,
                health.port,
            )
            agent = self._checked()
            if agent is None:
                return 0
            show(self._status, self._metrics)
            session = Session(agent, self._settings, self._status, self._metrics)
            if self._name != "labels":
                return asyncio.run(session.run(self._stop))
            with LiveFigures(self._settings, self._metrics):
                return asyncio.run(session.run(self._stop))

    # -- checks before joining ----------------------------------------------------------------
    def _checked(self) -> Agent | None:
        """Build the agent once everything it needs is there; None if told to stop before."""

        def patience(store: Any) -> PatientStateStore:
            return PatientStateStore(store, self._status, self._stop)

        agent = self._until(
            lambda: build_agent(self._name, self._settings, self._status, patience), ModelError
        )
        if agent is None:
            return None
        kafka = self._settings.kafka

        def check() -> bool:
            with admin.connect(kafka) as cluster:
                topic = cluster.describe(agent.topic)
                for name in agent.beside:
                    if (has := cluster.describe(name).partitions) < topic.partitions:
                        raise BrokerError(
                            f"topic {name!r} has {has} partitions, {agent.topic!r} "
                            f"{topic.partitions}: give it as many"
                        )
                ends = cluster.ends(agent.topic)
            agent.store.identify(identity_of(agent, topic))  # another number would be foreign
            agent.sized(topic.partitions)
            for partition, marker in agent.store.markers(range(topic.partitions)).items():
                check_marker(agent.topic, partition, marker, ends[partition])
            return True

        if not self._until(check, BrokerError, ForeignState):
            return None
        observe(agent, self._metrics)
        return agent

    def _until(self, attempt: Callable[[], T], *errors: type[Exception]) -> T | None:
        """Repeat `attempt` until it succeeds; None if told to stop before."""
        delay_s = 0.5
        while not self._stop.is_set():
            try:
                result = attempt()
            except errors as error:
                self._status.block(str(error))
            except TocsinError:
                if self._stop.is_set():
                    return None
                raise
            else:
                self._status.block(None)
                return result
            self._stop.wait(delay_s)
            delay_s = min(2 * delay_s, 5.0)
        return None


def show(status: Status, metrics: Metrics) -> None:
    """Have the metrics say whether the worker is ready, or rebuilds, whenever they are read."""
    metrics.ready.set_function(lambda: not status.reasons())
    metrics.rebuilding.set_function(lambda: status.is_rebuilding)


def _tune_malloc(name: AgentName) -> None:
    """Tell glibc before the threads start; other C libraries do not know the call."""
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_ARENA_MAX, MALLOC_ARENAS)
        if name != "vision":
            libc.mallopt(_M_MMAP_THRESHOLD, MALLOC_MMAP_BYTES)

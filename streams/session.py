"""A worker's time in the consumer group: from joining it to leaving it, for one agent."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import faust
from faust.types import TP

from models.errors import ModelError
from streams import admin
from streams.app.agent import Agent
from streams.cluster import ClusterLog
from streams.connection import KAFKA_ERRORS, as_broker_error
from streams.erasure import recall
from streams.errors import RESTART, ForeignState, Stuck, TocsinError, TransportError
from streams.metrics import Metrics
from streams.pipeline.assignment import Assignment
from streams.pipeline.delivery import Delivery
from streams.pipeline.job import Limits
from streams.pipeline.lane import Lane
from streams.pipeline.loss import notice_loss
from streams.pipeline.publish import KafkaPublisher
from streams.pipeline.silence import listen
from streams.pipeline.watchdog import Watchdog
from streams.security import security_options
from streams.settings import KafkaSettings, Settings
from streams.status import Status
from streams.tracing import open_spans, traces_of_batches
from streams.transport import BatchApp, BatchSchema

log = logging.getLogger(__name__)

LEAVE_S = 5.0
"""Beyond the drain, for leaving the group and closing connections."""

SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the GIL from the others: at Python's 5 ms the threads of the path
take turns slower than they work."""


class Session:
    """From joining the group to leaving it."""

    def __init__(self, agent: Agent, settings: Settings, status: Status, metrics: Metrics) -> None:
        self._agent, self._settings = agent, settings
        self._status, self._metrics = status, metrics
        delivery = settings.delivery
        self._lane = Lane(agent.detector, metrics)
        self._publisher = KafkaPublisher(settings.kafka, status)
        spans = open_spans(settings.tracing, agent.name)
        self._traces = traces_of_batches(spans, agent.topic, agent.group)
        self._delivery = Delivery(
            lane=self._lane,
            store=agent.store,
            publisher=self._publisher,
            metrics=metrics,
            status=status,
            limits=Limits(
                max_batch=agent.max_batch,
                max_unflushed=agent.max_unflushed,
                flush_interval_s=delivery.flush_interval_s,
                batch_wait_s=agent.batch_wait_s,
            ),
            fail=self._fail,
            traces=self._traces,
        )
        self._stopping = asyncio.Event()
        self._datadir = tempfile.TemporaryDirectory(prefix="tocsin-")  # Faust insists on one
        self._app = self._build_app()
        self._assignment = Assignment(
            topic=ClusterLog(agent, settings, self._earliest),
            store=agent.store,
            delivery=self._delivery,
            publisher=self._publisher,
            metrics=metrics,
            status=status,
            resume=agent.resume,
            recall=self._remember if agent.erasures else None,
            fail=self._fail,
        )
        metrics.state_age.set_function(lambda: time.time() - self._delivery.stored_at)

    async def run(self, stop: threading.Event) -> int:
        """Serve until a signal, or until `stop` if that came first; return the exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        if stop.is_set():
            self._stopping.set()
        if not await self._before_stopping(self._publisher.start()):
            return 0
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*self._agent.gc_thresholds)
        if await self._before_stopping(self._app.start()):
            await self._before_stopping(self._attend())
        log.info("stopping: finishing what is under way")
        patience_s = self._settings.delivery.drain_timeout_s + LEAVE_S
        deadline = loop.call_later(patience_s, self._fail, _overdue(patience_s))
        await self._app.stop()
        await self._publisher.stop()
        await asyncio.to_thread(self._traces.close)
        deadline.cancel()
        self._lane.close()
        self._datadir.cleanup()
        log.info("stopped")
        return 0

    async def _before_stopping(self, work: Coroutine[Any, Any, object]) -> bool:
        """Await `work`, or until a signal if that comes first; return whether it finished."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done():
            task.cancel()
            return False
        if task.exception() is not None:
            self._fail(task.exception() or RuntimeError("lost"))
        return True

    # -- the Faust app ------------------------------------------------------------------------
    def _build_app(self) -> Any:
        kafka, delivery, agent = self._settings.kafka, self._settings.delivery, self._agent
        app = _DrainingApp(
            agent.group,
            broker="tocsin://" + ";".join(kafka.bootstrap_servers.split(",")),
            broker_credentials=_credentials(kafka),
            fetch_min_bytes=kafka.fetch_min_bytes,
            fetch_max_wait_ms=kafka.fetch_max_wait_ms,
            isolation_level=kafka.isolation_level,
            start_positions=self._start_positions,
            on_gone=self._gone,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=kafka.max_partition_fetch_bytes,
            consumer_group_instance_id=kafka.group_instance_id or None,
            broker_session_timeout=kafka.session_timeout_s,
            broker_heartbeat_interval=kafka.heartbeat_interval_s,
            broker_rebalance_timeout=kafka.rebalance_timeout_s,
            broker_commit_interval=delivery.commit_interval_s,
            broker_commit_every=10**9,  # by time only
            stream_buffer_maxsize=16,
            stream_wait_empty=True,  # without it SIGTERM loses what is in flight
            topic_allow_declare=False,
            topic_disable_leader=True,
            datadir=self._datadir.name,
        )
        app.drain_timeout_s, app.give_up = delivery.drain_timeout_s, self._fail
        topic = app.topic(agent.topic, schema=BatchSchema(max_records=agent.max_batch))

        @app.agent(topic, name=f"tocsin.{agent.name}")  # type: ignore[untyped-decorator]
        async def deliver(stream: Any) -> None:
            stream = stream.noack()
            self._delivery.start(acknowledge=stream.ack)
            async for event in stream.events():
                if app.consumer.is_stale(event.value):  # it comes again from where the seek went
                    await stream.ack(event)
                    continue
                try:
                    app.consumer.take(event.value)
                    await self._delivery.accept(event)
                except (ForeignState, TransportError) as error:
                    self._fail(error)

        app.on_partitions_assigned.connect(self._assigned)
        app.on_partitions_revoked.connect(self._revoked)
        return app

    async def _assigned(self, app: Any, assigned: set[TP], **_: Any) -> None:
        await self._assignment.assigned(self._numbers(assigned), app.consumer_generation_id)

    async def _revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        await self._assignment.revoked(set(self._numbers(revoked)))

    def _numbers(self, partitions: set[TP]) -> list[int]:
        return sorted(tp.partition for tp in partitions if tp.topic == self._agent.topic)

    async def _start_positions(self, committed: Mapping[TP, int | None]) -> Mapping[TP, int]:
        starts = await self._assignment.starts({tp.partition: at for tp, at in committed.items()})
        return {TP(self._agent.topic, partition): start for partition, start in starts.items()}

    def _gone(self, tp: TP, first: int, end: int) -> None:
        self._assignment.gone(tp.partition, first, end)

    async def _remember(self) -> None:
        """Find out what is forgotten of what may be rebuilt."""
        about = await admin.describe(self._settings.kafka, self._agent.topic)
        await recall(self._agent, self._settings.kafka, about.topic_id)

    async def _earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        asked = [TP(self._agent.topic, partition) for partition in partitions]
        found = await self._app.consumer.earliest_offsets(*asked)
        return {tp.partition: first for tp, first in found.items()}

    # -- when things go wrong -----------------------------------------------------------------
    async def _attend(self) -> None:
        watchdog = Watchdog(
            progress=lambda: {tp.partition: found for tp, found in self._progress().items()},
            published=lambda: self._publisher.acknowledged,
            positions=self._delivery.positions,
            ask=lambda: admin.describe(self._settings.kafka, self._agent.topic),
            ends=lambda: admin.log_ends(self._settings.kafka, self._agent.topic),
            metrics=self._metrics,
            status=self._status,
            stuck_after_s=self._settings.delivery.stuck_after_s,
        )
        loss = notice_loss(self._agent.store, self._delivery.positions)
        await asyncio.gather(watchdog.run(), self._listen(), loss)

    async def _listen(self) -> None:
        """Notice cameras that fall silent, where the agent follows any."""
        if self._agent.watcher is not None:
            await listen(
                watcher=self._agent.watcher,
                lane=self._lane,
                delivery=self._delivery,
                progress=lambda: {tp.partition: at for tp, at in self._progress().items()},
            )

    def _progress(self) -> dict[TP, tuple[int, int]]:
        """By partition: up to where everything is stored, and the log's end.

        The transport may be further than the store: past transaction markers and what compaction
        removed, of which no record ever reaches the store.
        """
        consumer, found = self._app.consumer, {}
        for tp in consumer.assignment():
            with suppress(AssertionError):  # reassigned on the consumer's thread meanwhile
                stored = self._delivery.positions.reached(tp.partition)
                found[tp] = max(stored, consumer.done_to(tp)), consumer.highwater(tp) or 0
        return found

    def _fail(self, error: BaseException) -> NoReturn:
        """End the process at once, uncommitted: a restart replays from what is stored."""
        if isinstance(error, KAFKA_ERRORS):
            error = as_broker_error(error, self._settings.kafka)
        expected = isinstance(error, (TocsinError, ModelError))
        log.critical("ending: %s", error, exc_info=None if expected else error)
        logging.shutdown()
        with suppress(OSError):
            self._datadir.cleanup()
            sys.stderr.flush()
        os._exit(RESTART)


class _DrainingApp(BatchApp):
    """Faust waits for ever for what is in flight; this gives up at a deadline, unacknowledged."""

    logger = logging.getLogger("faust")
    drain_timeout_s: float
    give_up: Callable[[BaseException], None]

    async def _consumer_wait_empty(self, consumer: Any, logger: Any) -> None:
        deadline = asyncio.get_running_loop().call_later(
            self.drain_timeout_s, self.give_up, _overdue(self.drain_timeout_s)
        )
        try:
            await super()._consumer_wait_empty(consumer, logger)
        finally:
            deadline.cancel()

    async def crash(self, reason: BaseException) -> None:
        """A crash of the app ends the process."""
        self.give_up(reason)

    def _crash(self, reason: BaseException) -> None:
        """So does one of its services, of which Faust tells the app in this way alone."""
        self.give_up(reason)


def _overdue(seconds: float) -> Stuck:
    return Stuck(f"could not finish within {seconds:.0f} s, giving up")


def _credentials(kafka: KafkaSettings) -> Any:
    """What every other client gets, in the form that Faust takes."""
    options = security_options(kafka)
    context = options["ssl_context"]
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)

"""One worker process: the product's parts around the stand-ins, put together as `Session` does."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final, NoReturn, cast

from aiokafka import AIOKafkaProducer
from typing_extensions import override

from streams.errors import TocsinError, TransportError
from streams.pipeline.assignment import Assignment, TopicLog
from streams.pipeline.batch import Batch
from streams.pipeline.dead_letter import Buried
from streams.pipeline.delivery import Delivery
from streams.pipeline.lane import Lane
from streams.pipeline.loss import notice_loss
from streams.pipeline.publish import KafkaPublisher
from streams.settings import KafkaSettings
from streams.simulation.broker import TOPIC, Broker, Membership
from streams.simulation.chain import ChainDetector
from streams.simulation.check import Check, Violated
from streams.simulation.clock import Process
from streams.simulation.consumer import Consumer
from streams.simulation.loop import Thread, VirtualLoop
from streams.simulation.outbox import OutboxDetector, ResumeChains
from streams.simulation.producer import Producer
from streams.simulation.store import FaultyStore, VirtualStop
from streams.simulation.world import World
from streams.state.patient import PatientStateStore
from streams.state.store import PartitionSnapshot
from streams.status import Status

KAFKA: Final = KafkaSettings()
STOPPED: Final = "stopped"

LOOK_EVERY_S: Final = 0.5
"""A history lasts seconds."""


class Worker:
    """A process from its start to its death.

    Args:
        world: all that it shares.
        slot: its place among the workers.
        life: counts the processes that had this place.
        died: told when it has died, however.
    """

    def __init__(self, world: World, slot: int, life: int, died: Callable[[Worker], None]) -> None:
        self.slot, self.name = slot, f"w{slot}.{life}"
        self.is_ending = False
        self.process = Process(world.clock, self.name)
        self.process.on_death = self._died
        self.loop = VirtualLoop(self.process, world.delay)  # type: ignore[abstract]  # on purpose
        self.member = Membership(self.name, f"w{slot}" if world.shape.is_static else None)
        self._world, self._told = world, died
        self._device_back_at = 0.0
        events._set_running_loop(self.loop)
        self.consumer = self._build()
        self.consumer.start()

    def _build(self) -> Consumer:
        world, shape, status = self._world, self._world.shape, Status()
        store = PatientStateStore(
            FaultyStore(self.process, world.server, world.faults, self._flushed),
            status,
            VirtualStop(world.clock),
        )
        threads = Thread(self.process, world.delay), Thread(self.process, world.delay)
        kind = OutboxDetector if shape.has_outbox else ChainDetector
        detector = kind(store, capacity=shape.capacity, trap=self._trap)
        publisher = KafkaPublisher(KAFKA, status, self._connect)
        delivery = Delivery(
            lane=Lane(detector, world.metrics, threads),
            store=store,
            publisher=publisher,
            metrics=world.metrics,
            status=status,
            limits=shape.limits,
            fail=self._fail,
        )
        assignment = Assignment(
            topic=KnownLog(world.broker, world.check, world.delay),
            store=store,
            delivery=delivery,
            publisher=publisher,
            metrics=world.metrics,
            status=status,
            resume=ResumeChains(store) if shape.has_outbox else None,
            fail=self._fail,
        )
        return Consumer(
            member=self.member,
            broker=world.broker,
            assignment=assignment,
            delivery=delivery,
            limits=shape.consumer,
            faults=world.faults,
            delay=world.delay,
            notice=partial(notice_loss, store, delivery.positions, every_s=LOOK_EVERY_S),
            fail=self._fail,
        )

    # -- what befalls it ----------------------------------------------------------------------
    def terminate(self) -> None:
        """SIGTERM: finish, leave, end."""
        self.is_ending = True

        async def finish() -> None:
            await self.consumer.stop()
            self._fail(SystemExit(STOPPED))

        self.loop.call_soon(lambda: asyncio.ensure_future(finish()))

    def reach(self, reachable: bool) -> None:
        """Cut the process off from the broker, or let it back."""
        self.consumer.reachable = reachable

    def lose_device(self, seconds: float) -> None:
        """Fail every batch for a while."""
        self._device_back_at = self._world.clock.now + seconds

    def crash_within(self, steps: int) -> None:
        """Die between two steps, so many from now."""
        self.process.steps_left = steps

    def calm(self) -> None:
        """Take back what befell it."""
        self.reach(True)
        self._device_back_at = 0.0
        self.process.steps_left = -1
        if self.process.stopped:
            self.process.go_on()

    # -- what it does to the world ------------------------------------------------------------
    async def _connect(self) -> AIOKafkaProducer:
        world = self._world
        await asyncio.sleep(world.delay())
        producer = Producer(self.process, world.broker, world.faults, world.delay)
        return cast("AIOKafkaProducer", producer)

    def _trap(self, batch: Batch) -> None:
        """Fail a batch for its own sake, or for none of it."""
        world = self._world
        if not world.poison.isdisjoint({record.value for record in batch.records}):
            raise ValueError("nothing can score this")
        is_lost = world.clock.now < self._device_back_at
        if is_lost:
            world.faults.count("device lost")
        if is_lost or world.faults.strikes("batch fails"):
            if len(batch.records) == 1:
                world.check.refused(int(batch.partitions[0]), cast("Any", batch.records[0]))
            raise MemoryError("out of device memory")

    def _flushed(self, snapshot: PartitionSnapshot, before: int | None) -> None:
        self._world.trace.note("flush", self.name, snapshot.partition, before, snapshot.marker)
        self._world.check.flushed(snapshot, before, self.consumer.started[snapshot.partition])

    def _fail(self, error: BaseException) -> NoReturn:
        """End as a process does whose session fails, and tell of what none may end of."""
        world, why = self._world, type(error).__name__
        world.trace.note("ends", self.name, why, str(error))
        world.ends[STOPPED if isinstance(error, SystemExit) else why] += 1
        # A batch that was thrown away ends a worker before harm is done, and yet: none may be.
        is_expected = isinstance(error, (TocsinError, SystemExit, Violated))
        if not is_expected or isinstance(error, TransportError):
            world.check.violation = Violated("broken", f"{self.name} ended of {error!r}")
        self.process.exit()

    def _died(self) -> None:
        world = self._world
        world.trace.note("dead", self.name)
        if self.process.steps_left == 0:
            world.faults.count("crash")
        world.broker.group.lose(self.member)
        self._told(self)


class KnownLog(TopicLog):
    """The topic as the broker knows it."""

    name = TOPIC

    def __init__(self, broker: Broker, check: Check, delay: Callable[[], float]) -> None:
        self._broker, self._check, self._delay = broker, check, delay

    @override
    async def identity(self) -> bytes:
        await asyncio.sleep(self._delay())
        return b"ours"

    @override
    async def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        await asyncio.sleep(self._delay())
        return dict.fromkeys(partitions, 0)

    @override
    async def ends(self) -> Mapping[int, int]:
        await asyncio.sleep(self._delay())
        return {partition: log.end for partition, log in enumerate(self._broker.logs)}

    @override
    async def holds_records(self, partition: int, first: int, end: int) -> bool:
        await asyncio.sleep(self._delay())
        records, _ = self._broker.logs[partition].read(first, 1)
        return bool(records) and records[0].offset < end

    @override
    async def buried(self, spans: Mapping[int, range]) -> Mapping[int, Buried]:
        await asyncio.sleep(self._delay())
        return {home: self._check.buried(home, span) for home, span in spans.items()}

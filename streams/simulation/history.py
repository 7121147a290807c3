"""One seeded history: a storm of faults over a stream of events, then calm, then the last check."""

from __future__ import annotations

import logging
from asyncio import events
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from streams.metrics import Metrics
from streams.simulation.broker import Broker, Group
from streams.simulation.chain import BAD
from streams.simulation.check import Check, Violated
from streams.simulation.check_outbox import OutboxCheck
from streams.simulation.clock import Clock, TooLong
from streams.simulation.faults import TICK_S, Faults
from streams.simulation.store import Server
from streams.simulation.trace import Trace
from streams.simulation.worker import Worker
from streams.simulation.world import Shape, World

CALM_S: Final = 240.0
"""Within this everything must be processed once nothing fails any more."""

PATIENCE_S: Final = 60.0
"""The group's, once nothing fails: some histories have too little for a batch that fails."""

MOST_WORKERS: Final = 4
POISON: Final = b"13"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a history brought."""

    seed: int
    events: int
    flushes: int
    commits: int
    duplicates: int
    """Alerts and dead letters that came more than once."""

    faults: Counter[str]
    ends: Counter[str]
    """Of processes, by what they ended of."""

    trace: Trace | None
    """None where several processes played."""

    violated: str
    """The kind of violation, empty if the contract held."""

    message: str


class History:
    """The processes of one history, and what befalls them."""

    def __init__(self, seed: int, metrics: Metrics, *, is_large: bool | None = None) -> None:
        self._seed = seed
        self._random = random = Random(seed)
        self._shape = shape = Shape.draw(random, is_large=is_large)
        self._clock = clock = Clock(random)
        trace = Trace(clock)
        self._faults = faults = Faults(random, trace)
        self._workers: dict[int, Worker] = {}
        self._everybody: list[Worker] = []
        self._lives = Counter[int]()
        self._wanted = shape.workers
        poison = frozenset({POISON}) if random.random() < 0.3 else frozenset()
        server = Server(clock)
        kind = OutboxCheck if shape.has_outbox else Check
        check = kind(server, shape.partitions, poison)
        group = Group(
            clock,
            partitions=shape.partitions,
            session_s=shape.session_s,
            rebalance_s=shape.rebalance_s,
            delay=lambda: random.expovariate(1 / shape.delay_s),
            committed=self._committed,
        )
        broker = Broker(group, shape.partitions, check.published)
        self._world = World(
            random, shape, clock, faults, broker, server, check, metrics, poison, trace
        )
        self._check, self._broker, self._server = check, broker, server

    def run(self) -> Outcome:
        """Play it to its end, or to the first violation."""
        violated, message = "", ""
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # the product has much to say of all this
        try:
            self._storm()
            self._calm()
            self._check.ended()
        except Violated as violation:
            violated, message = violation.kind, str(violation)
        except TooLong as error:
            violated, message = "stuck", str(error)
        finally:
            self._end()
            events._set_running_loop(None)
            logging.disable(before)
        check, world = self._check, self._world
        return Outcome(
            seed=self._seed,
            events=check.events,
            flushes=check.flushes,
            commits=check.commits,
            duplicates=check.duplicates,
            faults=self._faults.hit,
            ends=world.ends,
            trace=world.trace,
            violated=violated,
            message=message,
        )

    # -- the plan -----------------------------------------------------------------------------
    def _storm(self) -> None:
        shape, clock, random = self._shape, self._clock, self._random
        for slot in range(shape.workers):
            self._start(slot)
        left = shape.events
        while left:
            burst = min(left, random.randint(1, 2 * max(1, shape.events // 40)))
            left -= burst
            clock.at(random.random() * shape.storm_s, partial(self._produce, burst))
        while clock.now < shape.storm_s:
            self._run(clock.now + TICK_S)
            self._strike()

    def _calm(self) -> None:
        """Let nothing fail, then have every partition flushed twice: who idles notices nothing.

        The first of these flushes finds a store that was set back, the second one is done by who
        took over.
        """
        self._world.trace.note("calm")
        self._faults.calm = True
        self._server.away_until = 0.0
        self._broker.group.rebalance_s = PATIENCE_S
        for worker in self._workers.values():
            worker.calm()
        for slot in range(self._wanted):
            self._start(slot)
        self._settle(self._is_committed)
        for turn in range(2):
            for partition in range(self._shape.partitions):
                self._append(partition, b"closing", b"%d" % turn)
            self._settle(self._is_done)

    def _settle(self, done: Callable[[], bool]) -> None:
        check = self._check
        self._run(self._clock.now + CALM_S, lambda: check.violation is not None or done())
        if not done():
            raise Violated("stuck", f"not done within {CALM_S:.0f} s of calm")

    def _is_committed(self) -> bool:
        """Whether the group has come to each partition's end.

        Rows that know what they have seen may be stored to the end without any commit, and then
        nothing is read again.
        """
        commits, is_needed = self._broker.group.commits, self._shape.has_outbox
        return all(
            commits.get(partition, 0 if is_needed else log.end) >= log.end
            for partition, log in enumerate(self._broker.logs)
        )

    def _is_done(self) -> bool:
        """Whether all is stored and committed."""
        markers, logs = self._server.markers, enumerate(self._broker.logs)
        return self._is_committed() and all(
            markers.get(partition, -1) >= log.records[-1].offset for partition, log in logs
        )

    def _run(self, until: float, done: Callable[[], bool] | None = None) -> None:
        self._clock.run(until, done)
        if self._check.violation is not None:
            raise self._check.violation
        for worker in self._everybody:
            if worker.loop.errors:
                raise Violated("broken", f"a callback of {worker.name}: {worker.loop.errors[0]!r}")

    def _end(self) -> None:
        """Let nothing live on: a coroutine that is left over would complain."""
        self._workers.clear()
        for worker in self._everybody:
            worker.process.on_death = lambda: None
            worker.process.die()
            worker.loop.abandon()

    # -- events -------------------------------------------------------------------------------
    def _produce(self, count: int) -> None:
        random, shape = self._random, self._shape
        for _ in range(count):
            number = int(random.random() ** 2 * shape.keys)
            partition = number % shape.partitions
            if random.random() < 0.02:  # a key on two partitions
                partition = random.randrange(shape.partitions)
            value = BAD if random.random() < 0.01 else b"%d" % random.randrange(1000)
            self._append(partition, b"k%d" % number, value)
        if random.random() < 0.1:  # transaction markers: offsets without a record
            self._broker.skip(random.randrange(shape.partitions), random.randint(1, 3))

    def _append(self, partition: int, key: bytes, value: bytes) -> None:
        self._check.produced(partition, self._broker.append(partition, key, value))

    def _committed(self, partition: int, offset: int) -> None:
        self._world.trace.note("commit", partition, offset)
        self._check.committed(partition, offset)

    # -- processes ----------------------------------------------------------------------------
    def _start(self, slot: int) -> None:
        if slot in self._workers or slot >= self._wanted:
            return
        self._lives[slot] += 1
        worker = Worker(self._world, slot, self._lives[slot], self._died)
        self._world.trace.note("start", worker.name)
        self._workers[slot] = worker
        self._everybody.append(worker)

    def _died(self, worker: Worker) -> None:
        if self._workers.get(worker.slot) is worker:
            del self._workers[worker.slot]
        self._clock.after(self._random.uniform(0.05, 1.0), lambda: self._start(worker.slot))

    # -- faults -------------------------------------------------------------------------------
    def _strike(self) -> None:
        """Draw what befalls the store, the number of workers, and each worker."""
        faults, random, clock = self._faults, self._random, self._clock
        if faults.strikes("redis away"):
            self._server.away_until = clock.now + random.expovariate(1.0)
        if faults.strikes("redis emptied"):
            self._world.trace.note("redis emptied")
            self._server.empty()
        if faults.is_due("redis rolled back"):
            clock.after(random.uniform(0.1, 1.0), partial(self._roll_back, self._server.copy()))
        if self._wanted < MOST_WORKERS and faults.strikes("join"):
            self._wanted += 1
            self._start(self._wanted - 1)
        for worker in list(self._workers.values()):
            self._befall(worker)

    def _roll_back(self, restore: Callable[[], None]) -> None:
        if not self._faults.calm:
            self._world.trace.note("redis rolled back")
            self._faults.count("redis rolled back")
            restore()

    def _befall(self, worker: Worker) -> None:
        faults, random, process = self._faults, self._random, worker.process
        if process.steps_left < 0 and faults.is_due("crash"):
            worker.crash_within(random.randint(1, 120))
        if faults.is_due("device lost"):
            worker.lose_device(random.expovariate(2.0))
        if not process.stopped and faults.strikes("stop"):
            process.stop()
            self._lose_sight(worker, process.go_on)
        if worker.member.reachable and faults.strikes("cut off"):
            worker.reach(False)
            self._lose_sight(worker, partial(worker.reach, True))
        if worker.is_ending:
            return
        if self._wanted > 1 and worker.slot == self._wanted - 1 and faults.strikes("leave"):
            self._wanted -= 1
            worker.terminate()
        elif faults.strikes("restart"):
            worker.terminate()

    def _lose_sight(self, worker: Worker, back: Callable[[], object]) -> None:
        """Let the group be without news of a worker for a while; too long, and it is out."""
        session_s = self._shape.session_s
        seconds = self._random.uniform(0.1, 3 * session_s)
        self._world.trace.note("out of sight", worker.name, round(seconds, 6))
        if seconds > session_s:
            self._clock.after(session_s, partial(self._broker.group.leave, worker.member))
        self._clock.after(seconds, back)

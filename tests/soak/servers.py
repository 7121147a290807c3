"""The workers of a soak and their servers, and what can befall them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from redis import Redis

from streams.bench.procfs import open_files, rss_mib, threads
from streams.devstack import KafkaBroker, RedisServer
from streams.errors import RESTART
from tests.chaos.oracle import Commits
from tests.passages import BLOBS
from tests.worker import Bed, WorkerProcess

SAMPLE_S = 2.0
KILLED = -9
LIMIT_S = 120.0
REBUILD_S = 1200.0
"""What a worker may take over all that the topic holds."""


@dataclass
class Life:
    """One process of a slot, seen from outside."""

    role: str
    pid: int
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)
    """Time (s), resident memory (MiB), threads, open files."""


@dataclass
class Recovery:
    """What a fault was, and how long it took until every partition had made progress."""

    kind: str
    seconds: float
    within_s: float | None
    """What was promised; None for nothing."""


class Fleet:
    """Two fraud and two vision workers; the first of each is hit by faults of servers only."""

    def __init__(self, bed: Bed, kafka: KafkaBroker, redis: RedisServer) -> None:
        self.bed, self.kafka, self.redis = bed, kafka, redis
        self.slots: dict[str, WorkerProcess] = {}
        self.lives: list[Life] = []
        self.restarts = 0
        self.commits = Commits(
            kafka.bootstrap, bed.settings.fraud.group, bed.settings.topics.transactions
        )
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        for role in ("fraud-0", "fraud-1", "vision-0", "vision-1"):
            self.launch(role)
        self._sampler.start()

    def launch(self, role: str) -> None:
        agent = role.partition("-")[0]
        command = BLOBS if agent == "vision" else ()
        worker = self.bed.worker(agent, command=command).start()
        self.slots[role] = worker
        self.lives.append(Life(role, worker.pid))

    def revive(self) -> None:
        """Start again who asked for it by its status, as an orchestrator does."""
        for role, worker in list(self.slots.items()):
            if worker.status is not None:
                assert worker.status in {RESTART, KILLED}, "\n".join(worker.log[-40:])
                self.restarts += worker.status == RESTART
                self.launch(role)

    def until(self, done: Callable[[], bool], limit_s: float = LIMIT_S) -> float:
        """Wait, reviving who ends; return the seconds that it took."""
        begun = time.monotonic()
        while not done():
            self.revive()
            assert time.monotonic() - begun < limit_s, self.told()
            time.sleep(0.1)
        return time.monotonic() - begun

    def progressed(self, limit_s: float = LIMIT_S) -> float:
        """Wait until the commit of every partition has moved from here; return the seconds."""
        before = self.commits.now()
        return self.until(
            lambda: all(at > before[p] for p, at in self.commits.now().items()), limit_s
        )

    def told(self) -> str:
        tails = ["\n".join(worker.log[-15:]) for worker in self.slots.values()]
        return "no progress:\n" + "\n--\n".join(tails)

    def end(self, role: str) -> None:
        """Stop a worker as an orchestrator would."""
        # One that is being imported does not hear it yet; one that has ended by itself is replaced.
        self.until(lambda: any("health and metrics" in line for line in self.slots[role].log))
        worker = self.slots[role]
        status = worker.stop()
        assert status in {0, RESTART}, f"{role}: {status}\n" + "\n".join(worker.log[-20:])
        self.restarts += status == RESTART

    def stop(self) -> None:
        """Stop every worker, when nothing befalls any more."""
        for role, worker in self.slots.items():
            status = worker.stop()
            assert status == 0, f"{role}: {status}\n" + "\n".join(worker.log[-20:])
        self._ended.set()
        self._sampler.join()

    def close(self) -> None:
        self._ended.set()
        self.bed.close()
        self.commits.close()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            latest = {life.role: life for life in self.lives}
            for life in latest.values():
                try:
                    seen = (rss_mib(life.pid), threads(life.pid), open_files(life.pid))
                except (OSError, ProcessLookupError):
                    continue
                life.samples.append((time.monotonic() - self._begun, *seen))


EMPTY = """
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('UNLINK', key) end
"""

Fault = Callable[[Fleet, random.Random], float]
"""Does its harm, and returns the seconds from its end until all partitions make progress."""


def kill(fleet: Fleet, rng: random.Random) -> float:
    fleet.slots["fraud-1"].kill()
    return fleet.progressed()


def terminate(fleet: Fleet, rng: random.Random) -> float:
    fleet.end("fraud-1")
    fleet.launch("fraud-1")
    return fleet.progressed()


def stand_still(fleet: Fleet, rng: random.Random) -> float:
    """Longer than its session: it comes back as a stale owner."""
    worker = fleet.slots["fraud-1"]
    os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(rng.uniform(8, 14))
    os.kill(worker.pid, signal.SIGCONT)
    return fleet.progressed()


def join_and_leave(fleet: Fleet, rng: random.Random) -> float:
    fleet.launch("fraud-2")
    third = fleet.slots["fraud-2"]
    fleet.until(lambda: any("assigned partitions" in line for line in third.log))
    time.sleep(rng.uniform(0, 6))
    fleet.end("fraud-2")
    del fleet.slots["fraud-2"]
    return fleet.progressed()


def kill_vision(fleet: Fleet, rng: random.Random) -> float:
    fleet.slots["vision-1"].kill()
    return fleet.progressed()


def terminate_vision(fleet: Fleet, rng: random.Random) -> float:
    fleet.end("vision-1")
    fleet.launch("vision-1")
    return fleet.progressed()


def kill_broker(fleet: Fleet, rng: random.Random) -> float:
    fleet.kafka.kill()
    fleet.kafka.start()
    return fleet.progressed()


def stop_broker(fleet: Fleet, rng: random.Random) -> float:
    fleet.kafka.stop()
    time.sleep(rng.uniform(0, 15))
    fleet.kafka.start()
    return fleet.progressed()


def stop_redis(fleet: Fleet, rng: random.Random) -> float:
    fleet.redis.stop()
    time.sleep(rng.uniform(0, 10))
    fleet.redis.start()
    return fleet.progressed()


def freeze_redis(fleet: Fleet, rng: random.Random) -> float:
    os.kill(fleet.redis.pid, signal.SIGSTOP)
    time.sleep(rng.uniform(1, 6))
    os.kill(fleet.redis.pid, signal.SIGCONT)
    return fleet.progressed()


def empty_redis(fleet: Fleet, rng: random.Random) -> float:
    """Only the fraud agent's state, at one moment: it comes back from Kafka.

    Rows that went one by one would be taken for cards that are new, while the marker is there.
    """
    with Redis.from_url(fleet.redis.url) as redis:
        redis.eval(EMPTY, 0, f"{fleet.bed.settings.fraud.group}:*")
    return fleet.progressed(REBUILD_S)


FAULTS: dict[str, tuple[Fault, float | None, int]] = {
    "worker killed": (kill, 20.0, 4),
    "worker stopped and started": (terminate, None, 3),
    "worker stands still for longer than its session": (stand_still, None, 3),
    "worker joins and leaves": (join_and_leave, None, 3),
    "vision worker killed": (kill_vision, None, 3),
    "vision worker stopped and started": (terminate_vision, None, 2),
    "broker killed": (kill_broker, 30.0, 3),
    "broker away for up to 15 s": (stop_broker, 30.0, 3),
    "Redis away for up to 10 s": (stop_redis, None, 3),
    "Redis stands still for up to 6 s": (freeze_redis, None, 3),
}
"""By name: the fault, within what seconds all partitions must progress again, and its weight.

The fraud agent's state is deleted apart from them, once, when a third of the time is over.
"""

EMPTIED = "the fraud agent's state is deleted"

"""The workers of a soak and their servers, and what can befall them."""

from __future__ import annotations

import os
import random
import re
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
from tests.chaos.watch import Watch
from tests.passages import BLOBS
from tests.worker import Bed, WorkerProcess

SAMPLE_S = 2.0
KILLED = -9
LIMIT_S = 120.0
IN_FLIGHT_S = 20.0
"""How long a fault waits for something to hit."""

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
    seconds: float | None
    """None where nothing shows that the fault hit."""

    within_s: float | None
    """What was promised; None for nothing."""


class Fleet:
    """Two fraud and two vision workers; the first of each is hit by faults of servers only."""

    def __init__(self, bed: Bed, kafka: KafkaBroker, redis: RedisServer) -> None:
        self.bed, self.kafka, self.redis = bed, kafka, redis
        self.slots: dict[str, WorkerProcess] = {}
        self.lives: list[Life] = []
        self.restarts = 0
        of = bed.settings
        fed = {
            "fraud": (of.fraud.group, of.topics.transactions),
            "vision": (of.vision.group, of.topics.frames),
        }
        self.commits = {agent: Commits(kafka.bootstrap, *own) for agent, own in fed.items()}
        self.watches = {
            agent: Watch(kafka.bootstrap, redis.url, *own) for agent, own in fed.items()
        }
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        for role in ("fraud-0", "fraud-1", "vision-0", "vision-1"):
            self.launch(role)
        self._sampler.start()
        for watch in self.watches.values():
            watch.start()

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

    def passes(self, done: Callable[[], bool], limit_s: float = IN_FLIGHT_S) -> bool:
        """Wait for `done`, reviving who ends; say whether it came to that."""
        deadline = time.monotonic() + limit_s
        while not done():
            self.revive()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def progressed(self, *agents: str, limit_s: float = LIMIT_S) -> float:
        """Wait until the commit of every partition has moved from here; return the seconds.

        Partitions of what `agents` read, of all where none is named.
        """
        waited = {agent: self.commits[agent].now() for agent in agents or self.commits}

        def moved() -> bool:
            return all(
                at > before[partition]
                for agent, before in waited.items()
                for partition, at in self.commits[agent].now().items()
            )

        return self.until(moved, limit_s)

    # -- what a fault can hit -----------------------------------------------------------------
    def holds(self, role: str) -> set[int]:
        """The partitions that it was last assigned; none where it does not run."""
        worker = self.slots[role]
        found = re.findall(r"assigned partitions \[(.*?)\]", "\n".join(worker.log))
        is_there = worker.status is None and found
        return {int(number) for number in found[-1].split(",") if number} if is_there else set()

    def is_member(self, role: str) -> bool:
        """Whether it came into its group, and partitions were given out, if none to it."""
        worker = self.slots[role]
        return worker.status is None and "assigned partitions" in "\n".join(worker.log)

    def is_busy(self, role: str) -> bool:
        """Whether something of its partitions is not committed."""
        mine = self.holds(role)
        lags = self.commits[role.partition("-")[0]].lags() if mine else {}
        return any(lags[partition] > 0 for partition in mine)

    def are_busy(self) -> bool:
        """Whether both paths have something that is not committed."""
        return all(sum(commits.lags().values()) > 0 for commits in self.commits.values())

    def stands_still(self, seconds: float) -> bool:
        """Wait so long; say whether no commit moved in the second half of it."""
        time.sleep(seconds / 2)
        before = [commits.now() for commits in self.commits.values()]
        time.sleep(seconds / 2)
        return before == [commits.now() for commits in self.commits.values()]

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
        for watch in self.watches.values():
            watch.end()
        for commits in self.commits.values():
            commits.close()

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

Fault = Callable[[Fleet, random.Random], float | None]
"""Does its harm, and returns the seconds from its end until all partitions make progress; None
where nothing was there to be hit, or nothing shows that it was."""


def kill(agent: str) -> Fault:
    role = f"{agent}-1"

    def fault(fleet: Fleet, rng: random.Random) -> float | None:
        is_hit = fleet.passes(lambda: fleet.is_busy(role))
        fleet.slots[role].kill()
        seconds = fleet.progressed(agent)
        return seconds if is_hit else None

    return fault


def terminate(agent: str) -> Fault:
    role = f"{agent}-1"

    def fault(fleet: Fleet, rng: random.Random) -> float | None:
        is_hit = fleet.passes(lambda: fleet.is_busy(role))
        fleet.end(role)
        fleet.launch(role)
        seconds = fleet.progressed(agent)
        return seconds if is_hit else None

    return fault


def stand_still(agent: str) -> Fault:
    """Longer than its session, and until another has its partitions: it comes back as a stale
    owner."""
    role, other = f"{agent}-1", f"{agent}-0"

    def fault(fleet: Fleet, rng: random.Random) -> float | None:
        is_busy = fleet.passes(lambda: fleet.is_busy(role))
        mine = fleet.holds(role)
        worker = fleet.slots[role]
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            time.sleep(rng.uniform(8, 14))
            is_replaced = fleet.passes(lambda: mine <= fleet.holds(other))
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        seconds = fleet.progressed(agent)
        return seconds if is_busy and is_replaced else None

    return fault


def join_and_leave(fleet: Fleet, rng: random.Random) -> float | None:
    """A third worker of four partitions gets none, but all is assigned anew."""
    fleet.launch("fraud-2")
    is_hit = fleet.passes(lambda: fleet.is_member("fraud-2"), LIMIT_S)
    time.sleep(rng.uniform(0, 6))
    fleet.end("fraud-2")
    del fleet.slots["fraud-2"]
    seconds = fleet.progressed("fraud")
    return seconds if is_hit else None


def kill_broker(fleet: Fleet, rng: random.Random) -> float | None:
    is_hit = fleet.passes(fleet.are_busy)
    fleet.kafka.kill()
    fleet.kafka.start()
    seconds = fleet.progressed()
    return seconds if is_hit else None


def stop_broker(fleet: Fleet, rng: random.Random) -> float | None:
    is_hit = fleet.passes(fleet.are_busy)
    fleet.kafka.stop()
    time.sleep(rng.uniform(2, 15))
    fleet.kafka.start()
    seconds = fleet.progressed()
    return seconds if is_hit else None


def stop_redis(fleet: Fleet, rng: random.Random) -> float | None:
    is_busy = fleet.passes(fleet.are_busy)
    fleet.redis.stop()
    is_hit = fleet.stands_still(rng.uniform(2, 10))
    fleet.redis.start()
    seconds = fleet.progressed()
    return seconds if is_busy and is_hit else None


def freeze_redis(fleet: Fleet, rng: random.Random) -> float | None:
    is_busy = fleet.passes(fleet.are_busy)
    os.kill(fleet.redis.pid, signal.SIGSTOP)
    try:
        is_hit = fleet.stands_still(rng.uniform(2, 6))
    finally:
        os.kill(fleet.redis.pid, signal.SIGCONT)
    seconds = fleet.progressed()
    return seconds if is_busy and is_hit else None


def slow_redis(fleet: Fleet, rng: random.Random) -> float | None:
    """It answers everybody up to 0.3 s late."""
    is_busy = fleet.passes(fleet.are_busy)
    late = 0
    until = time.monotonic() + rng.uniform(4, 10)
    with Redis.from_url(fleet.redis.url) as one, Redis.from_url(fleet.redis.url) as other:
        while (begun := time.monotonic()) < until:
            one.client_pause(300)
            other.ping()
            late += time.monotonic() - begun > 0.2
            time.sleep(0.02)
    seconds = fleet.progressed()
    return seconds if is_busy and late > 5 else None


def empty_redis(fleet: Fleet, rng: random.Random) -> float | None:
    """Only the fraud agent's state, at one moment: it comes back from Kafka.

    Rows that went one by one would be taken for cards that are new, while the marker is there.
    """
    is_busy = fleet.passes(lambda: fleet.is_busy("fraud-0"))
    before = fleet.restarts
    with fleet.watches["fraud"].aside(), Redis.from_url(fleet.redis.url) as redis:
        redis.eval(EMPTY, 0, f"{fleet.bed.settings.fraud.group}:*")
    is_noticed = fleet.passes(lambda: fleet.restarts > before)
    seconds = fleet.progressed("fraud", limit_s=REBUILD_S)
    return seconds if is_busy and is_noticed else None


FAULTS: dict[str, tuple[Fault, float | None, int]] = {
    "worker killed": (kill("fraud"), 20.0, 4),
    "worker stopped and started": (terminate("fraud"), None, 3),
    "worker stands still for longer than its session": (stand_still("fraud"), None, 3),
    "worker joins and leaves": (join_and_leave, None, 3),
    "vision worker killed": (kill("vision"), None, 3),
    "vision worker stopped and started": (terminate("vision"), None, 2),
    "vision worker stands still for longer than its session": (stand_still("vision"), None, 2),
    "broker killed": (kill_broker, 30.0, 3),
    "broker away for 2 to 15 s": (stop_broker, 30.0, 3),
    "Redis away for 2 to 10 s": (stop_redis, None, 3),
    "Redis stands still for 2 to 6 s": (freeze_redis, None, 3),
    "Redis answers up to 0.3 s late": (slow_redis, None, 2),
}
"""By name: the fault, within what seconds all partitions must progress again, and its weight.

The fraud agent's state is deleted apart from them, once, when a third of the time is over.
"""

EMPTIED = "the fraud agent's state is deleted"

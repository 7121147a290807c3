"""Kafka in memory: logs, one consumer group with generations, and the commits that it holds."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from streams.pipeline.batch import Message
from streams.simulation.clock import Clock

TOPIC = "transactions"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record; see `streams.schemas.Record`."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp: int = 0


@dataclass(slots=True)
class PartitionLog:
    """Records in offset order; offsets need not be dense, and the end may lie behind the last."""

    records: list[LogRecord] = field(default_factory=list)
    end: int = 0

    def read(self, position: int, count: int) -> tuple[list[LogRecord], int]:
        """Return up to `count` records from `position` on, and where reading goes on."""
        first = bisect_left(self.records, position, key=lambda record: record.offset)
        found = self.records[first : first + count]
        if first + count >= len(self.records):
            return found, max(self.end, position)
        return found, found[-1].offset + 1


@dataclass(eq=False, slots=True)
class Membership:
    """A consumer's place in the group."""

    name: str
    instance: str | None
    """Static membership: a restart within the session takes the old place over."""

    generation: int = -1
    partitions: tuple[int, ...] = ()
    must_rejoin: asyncio.Event = field(default_factory=asyncio.Event)
    """It has heard that it must give its partitions back and join again."""

    reachable: bool = True
    """Whether the network lets it hear of anything."""

    is_out: bool = False
    """The group has gone on without it."""

    joined: asyncio.Future[None] | None = None
    has_news: bool = False

    def hear(self) -> None:
        """Learn of a rebalance, or of being out, by the answer to a heartbeat."""
        if not self.reachable or not self.has_news:
            return
        self.has_news = False
        if self.joined is None or self.joined.done():
            self.must_rejoin.set()
        elif self.is_out:
            self.joined.set_result(None)


class Group:
    """The coordinator: one generation after another, each with all partitions given out.

    Args:
        clock: times sessions.
        partitions: of the topic.
        session_s: a member that is not heard of for so long is out.
        rebalance_s: members that have not joined again by then are out.
        delay: draws how long it takes until a member hears of something.
        committed: told of each commit that is taken.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        partitions: int,
        session_s: float,
        rebalance_s: float,
        delay: Callable[[], float],
        committed: Callable[[int, int], object],
    ) -> None:
        self.session_s = session_s
        self.generation = 0
        self.commits: dict[int, int] = {}
        self.rebalance_s = rebalance_s
        self._clock, self._partitions, self._delay = clock, partitions, delay
        self._committed = committed
        self._members: dict[str, Membership] = {}
        self._rejoined: set[str] = set()
        self._preparing = 0

    def join(self, member: Membership) -> asyncio.Future[None]:
        """Ask for partitions; the future is done when the member has its part, or is out."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        member.joined, member.must_rejoin = future, asyncio.Event()
        member.has_news = member.is_out = False
        twin = self._twin(member)
        if twin is not None:
            self._forget(twin)
            if not self._preparing and twin.generation == self.generation:
                # A static member that restarts keeps its generation and its partitions.
                self._members[member.name] = member
                self._tell(member, twin.partitions)
                return future
        self._members[member.name] = member
        self._prepare()
        self._rejoined.add(member.name)
        self._complete()
        return future

    def leave(self, member: Membership) -> None:
        """Take a member out, by its own wish or because it was not heard of for too long."""
        if self._members.get(member.name) is member:
            self._forget(member)
            self._prepare()
            self._complete()

    def lose(self, member: Membership) -> None:
        """Take a member out when its session ends."""
        self._clock.after(self.session_s, lambda: self.leave(member))

    def _twin(self, member: Membership) -> Membership | None:
        """Return the earlier life of a static member."""
        if member.instance is None:
            return None
        held = (m for m in self._members.values() if m.instance == member.instance)
        return next((m for m in held if m is not member), None)

    def _forget(self, member: Membership) -> None:
        del self._members[member.name]
        self._rejoined.discard(member.name)
        member.is_out = True
        self._say(member)

    def _say(self, member: Membership) -> None:
        """Have a member hear of something at its next heartbeat."""
        member.has_news = True
        self._clock.after(self._delay(), member.hear)

    def commit(self, member: Membership, offsets: Mapping[int, int]) -> bool:
        """Take a commit, unless the group has gone on without the member."""
        known = self._members.get(member.name) is member
        if not known or member.generation != self.generation:
            return False
        for partition, offset in offsets.items():
            self.commits[partition] = offset
            self._committed(partition, offset)
        return True

    def _prepare(self) -> None:
        """Begin a rebalance, unless one has begun: everybody must join again."""
        if self._preparing or not self._members:
            return
        self._preparing = self.generation + 1
        self._rejoined.clear()
        for member in self._members.values():
            if member.joined is None or member.joined.done():
                self._say(member)
        self._clock.after(self.rebalance_s, partial(self._expire, self._preparing))

    def _expire(self, turn: int) -> None:
        if self._preparing == turn:
            for member in [m for n, m in self._members.items() if n not in self._rejoined]:
                self._forget(member)
            self._complete()

    def _complete(self) -> None:
        """Give all partitions out once every member has joined again."""
        if not self._preparing or not self._rejoined >= self._members.keys():
            return
        self._rejoined.clear()
        self.generation, self._preparing = self._preparing, 0
        members = list(self._members.values())
        for place, member in enumerate(members):
            first = (place + self.generation) % len(members)
            self._tell(member, tuple(range(first, self._partitions, len(members))))

    def _tell(self, member: Membership, partitions: tuple[int, ...]) -> None:
        member.generation, member.partitions = self.generation, partitions
        future = member.joined

        def told() -> None:
            if future is None or future.done():
                return  # it is out meanwhile
            future.set_result(None)
            if self._preparing and member.name not in self._rejoined:
                self._say(member)  # the next rebalance has begun before it heard of this one

        self._clock.after(self._delay(), told)


class Broker:
    """The topic that is read, the group that reads it, and all that is written."""

    def __init__(
        self,
        group: Group,
        partitions: int,
        written: Callable[[str, Sequence[Message]], object],
    ) -> None:
        self.group = group
        self.logs = [PartitionLog() for _ in range(partitions)]
        self._written = written
        self._waiting: list[asyncio.Future[None]] = []

    def append(self, partition: int, key: bytes, value: bytes) -> LogRecord:
        """Add a record to the topic."""
        log = self.logs[partition]
        record = LogRecord(log.end, key, value)
        log.records.append(record)
        log.end += 1
        self.wake()
        return record

    def skip(self, partition: int, offsets: int) -> None:
        """Move a partition's end on without a record, as transaction markers do."""
        self.logs[partition].end += offsets
        self.wake()

    async def more(self) -> None:
        """Wait until something has come."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    def wake(self) -> None:
        """Let everybody who waits for more look again."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def write(self, topic: str, messages: Sequence[Message]) -> None:
        """Append messages to a topic."""
        self._written(topic, messages)

"""Where a forwarder begins, what order it keeps, and how it stays in its group meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from streams.joining import Joining
from streams.schemas import encode
from streams.settings import Settings
from streams.webhooks import forward
from streams.webhooks.endpoint import Refused
from streams.webhooks.forward import Forwarder
from tests.dashboard import a_fraud, an_object

HOOK = {"url": "http://soc.test/", "secret": "0123456789abcdef"}
OLD, NEW, IDLE = (TopicPartition("alerts", number) for number in range(3))


@dataclass
class Consumer:
    """A member of a group; `given` is what it is handed while it should fetch nothing."""

    commits: dict[TopicPartition, int] = field(default_factory=dict)
    seeks: dict[TopicPartition, int] = field(default_factory=dict)
    is_paused: bool = False
    polls: int = 0
    given: dict[TopicPartition, list[Any]] = field(default_factory=dict)

    def assignment(self) -> set[TopicPartition]:
        return {OLD, NEW, IDLE}

    def pause(self, *partitions: TopicPartition) -> None:
        self.is_paused = True

    def paused(self) -> set[TopicPartition]:
        return self.assignment()

    def resume(self, *partitions: TopicPartition) -> None:
        self.is_paused = False

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.seeks[partition] = offset

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        self.polls += 1
        given, self.given = self.given, {}
        return given

    async def committed(self, partition: TopicPartition) -> int | None:
        return self.commits.get(partition)

    async def commit(self, places: dict[TopicPartition, int]) -> None:
        self.commits |= places

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 9)

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[Any, Any]:
        return {one: SimpleNamespace(offset=7) if one == NEW else None for one in times}


class Taking:
    """An endpoint that takes events at `pace`, and refuses those of the camera `gate`."""

    name = "soc"

    def __init__(self, pace: Callable[[str], float] = lambda event: 0.0) -> None:
        self.pace, self.taken = pace, list[str]()

    def wants(self, alert: Any) -> bool:
        return True

    async def send(self, event_id: str, body: bytes) -> None:
        await asyncio.sleep(self.pace(event_id))
        self.taken.append(event_id)
        if b'"camera_id":"gate"' in body:
            raise Refused("no")


class Memory:
    """What Redis remembers of sent events."""

    def __init__(self) -> None:
        self.keys, self.asked = set[str](), list[str]()

    def pipeline(self, *, transaction: bool) -> Memory:
        self.asked = []
        return self

    def exists(self, key: str) -> None:
        self.asked.append(key)

    async def execute(self) -> list[bool]:
        return [key in self.keys for key in self.asked]

    async def set(self, key: str, value: bytes, ex: int) -> None:
        self.keys.add(key)


def forwarder(endpoint: Any) -> Forwarder:
    settings = Settings.model_validate({"webhooks": {"endpoints": {"soc": HOOK}}})
    return Forwarder(settings, endpoint, Memory())


def idle(consumer: Consumer) -> Joining:
    return Joining(consumer, forwarder(Taking())._begin)


def record_of(alert: Any, offset: int) -> Any:
    return SimpleNamespace(
        value=encode(alert),
        key=b"k",
        headers=(),
        topic="alerts",
        partition=0,
        offset=offset,
        timestamp=1,
    )


def test_a_new_group_begins_where_its_process_began_and_commits_that_at_once() -> None:
    consumer = Consumer(commits={OLD: 3})
    asyncio.run(forwarder(Taking())._begin(consumer, [OLD, NEW, IDLE]))
    assert consumer.commits == {OLD: 3, NEW: 7, IDLE: 9}
    assert consumer.seeks == {NEW: 7, IDLE: 9}


def test_an_assignment_that_fails_is_raised_before_its_records_are_used() -> None:
    consumer = Consumer()

    async def begin(partitions: object) -> list[TopicPartition]:
        assert consumer.is_paused
        assert joining.is_beginning
        raise RuntimeError("no place")

    joining = Joining(consumer, begin)
    joining.check()
    asyncio.run(joining.on_partitions_assigned([OLD]))
    assert not joining.is_beginning
    with pytest.raises(RuntimeError, match="no place"):
        joining.check()


def test_nothing_is_fetched_before_its_place_is_found_and_some_not_yet_after() -> None:
    consumer = Consumer()
    resumed: list[TopicPartition] = []
    consumer.resume = lambda *partitions: resumed.extend(partitions)  # type: ignore[method-assign]

    async def begin(partitions: object) -> list[TopicPartition]:
        assert consumer.is_paused
        return [NEW]

    asyncio.run(Joining(consumer, begin).on_partitions_assigned([OLD, NEW, IDLE]))
    assert resumed == [OLD, IDLE]


def test_revisions_of_an_alert_go_out_in_order_beside_others_and_none_twice() -> None:
    slow = [an_object(1, 0), an_object(1, 1, status="update"), an_object(1, 2, status="end")]
    quick, refused = a_fraud(2), an_object(3, camera="gate")
    records = [record_of(one, at) for at, one in enumerate([*slow, slow[0], quick, refused])]
    endpoint = Taking(lambda event: 0.02 if event == slow[0].event_id else 0.0)
    consumer, buried = Consumer(), list[Any]()

    async def bury(letters: Any) -> None:
        buried.extend(letters)

    async def use() -> None:
        made = forwarder(endpoint)
        for _ in range(2):  # the second time nothing is left to do
            await made._step(consumer, idle(consumer), {OLD: records}, bury)

    asyncio.run(use())
    revisions = [alert.event_id for alert in slow]
    assert endpoint.taken == [quick.event_id, refused.event_id, *revisions]
    assert [letter.value for letter in buried] == [records[-1].value]
    assert consumer.commits == {OLD: 6}


def test_a_batch_that_takes_long_stays_in_its_group_and_fetches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forward, "_KEEP_S", 0.01)
    consumer = Consumer(given={NEW: [record_of(a_fraud(1), 5)]})

    async def work() -> str:
        await asyncio.sleep(0.1)
        assert consumer.is_paused
        return "done"

    assert asyncio.run(forward._keeping_its_place(consumer, idle(consumer), work())) == "done"
    assert consumer.polls > 2
    assert consumer.seeks == {NEW: 5}  # what was fetched all the same is read again
    assert not consumer.is_paused

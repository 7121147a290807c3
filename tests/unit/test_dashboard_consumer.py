"""What the view takes in of the topics, and from where on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from msgspec.structs import replace

from streams.dashboard.view import consumer as reading
from streams.dashboard.view.consumer import ViewConsumer, sorted_out
from streams.settings import Settings
from tests.dashboard import a_fraud, an_object

OLDEST = 1_000


def test_of_no_alerts_none_are_taken_in() -> None:
    assert sorted_out([], OLDEST) == ([], [])


def test_what_is_old_is_taken_in_while_it_goes_on_and_its_end_only_ends_it() -> None:
    begun, going_on, young, old_fraud = (
        replace(one, processed_at=at)
        for one, at in (
            (an_object(1), 10),
            (an_object(2), 10),
            (an_object(3, 1, status="end"), OLDEST),
            (a_fraud(4), 10),
        )
    )
    ended = replace(an_object(1, 1, status="end"), processed_at=20)

    assert sorted_out([begun, going_on, young, old_fraud], OLDEST) == ([begun, going_on, young], [])
    # The end may come with a later fetch, or with the same.
    assert sorted_out([ended], OLDEST) == ([], [ended])
    assert sorted_out([begun, going_on, ended], OLDEST) == ([going_on], [ended])


class Log:
    """Partitions that begin at these offsets, as a consumer sees them."""

    def __init__(self, starts: dict[TopicPartition, int]) -> None:
        self.starts = starts
        self.places: dict[TopicPartition, int] = {}
        self.held: set[TopicPartition] = set()

    async def beginning_offsets(
        self, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        return {one: self.starts[one] for one in partitions}

    async def offsets_for_times(self, times: Iterable[TopicPartition]) -> dict[Any, None]:
        return dict.fromkeys(times)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.places[partition] = offset

    def paused(self) -> set[TopicPartition]:
        return set(self.held)

    def resume(self, *partitions: TopicPartition) -> None:
        self.held -= set(partitions)

    def assignment(self) -> set[TopicPartition]:
        return set(self.starts)


class Places:
    """The positions of a view."""

    def __init__(self, held: dict[str, int]) -> None:
        self.held = held

    async def positions(self) -> dict[str, int]:
        return dict(self.held)

    async def advance(self, name: str, since: int, offset: int) -> None:
        assert self.held[name] >= since
        self.held[name] = max(self.held[name], offset)

    async def begin(self, positions: dict[str, int]) -> None:
        self.held = {**positions, **self.held}


def test_a_view_whose_next_records_were_deleted_goes_on_behind_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings()
    alerts, labels, fresh = (
        TopicPartition(topic, number)
        for topic, number in (
            (settings.topics.alerts, 0),
            (settings.topics.labels, 0),
            (settings.topics.labels, 1),
        )
    )
    log, store = Log({alerts: 9, labels: 2, fresh: 4}), Places({"alerts:0": 5, "labels:0": 3})
    made: Any = store
    view = ViewConsumer(settings, made)
    view._ids = {name: name for name in (alerts.topic, labels.topic)}

    async def ends(*_: object) -> dict[int, int]:
        return {0: 9}  # nothing is left of it

    monkeypatch.setattr(reading, "log_ends", ends)

    async def use() -> None:
        log.held = set(await view.begin(log, [alerts, labels, fresh]))
        await view._step(log, {})

    asyncio.run(use())
    assert log.places == {alerts: 9, labels: 3, fresh: 4}
    assert store.held == {"alerts:0": 9, "labels:0": 3, "labels:1": 4}
    assert log.held == set()
    assert view.waiting_for is None


def test_a_dashboard_that_has_no_partition_is_ready_when_the_others_have_caught_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings()
    topic = settings.topics.alerts
    log, store = Log({}), Places({f"{topic}:0": 5})
    made: Any = store
    view = ViewConsumer(settings, made)
    view._ids = {topic: topic}

    async def ends(*_: object) -> dict[int, int]:
        return {0: 9}

    monkeypatch.setattr(reading, "log_ends", ends)

    async def use() -> None:
        await view._step(log, {})
        assert view.waiting_for == "starting"
        await view.begin(log, [])
        await view._step(log, {})
        assert view.waiting_for == "catching up"
        store.held[f"{topic}:0"] = 9
        await view._step(log, {})
        assert view.waiting_for is None

    asyncio.run(use())


class Silent(Log):
    """A log with no news; its broker answers once it is `there`."""

    def __init__(self, starts: dict[TopicPartition, int]) -> None:
        super().__init__(starts)
        self.there = asyncio.Event()

    async def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        await self.there.wait()
        return {one: self.starts[one] for one in partitions}


def test_a_broker_that_hangs_is_not_taken_for_one_without_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_ANSWER_S", 0.01)
    settings = Settings()
    log, store = Silent({TopicPartition(settings.topics.alerts, 0): 0}), Places({})
    made: Any = store
    view = ViewConsumer(settings, made)

    async def turn() -> None:
        if await view._is_there(log):
            await view._step(log, {})

    async def use() -> None:
        view._has_joined = True
        await turn()
        assert view.waiting_for is None  # the silence is short yet
        view._heard_at -= 6
        before = round(time.time() * 1000)
        for _ in range(2):
            await turn()
            assert "does not answer in time" in (view.waiting_for or "")
        assert -6_500 < view.waiting_since - before < -5_500
        log.there.set()
        await turn()
        assert view.waiting_for is None

    asyncio.run(use())


def test_a_commit_that_hangs_does_not_hold_the_view_up_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_ANSWER_S", 0.01)
    settings = Settings()
    partition = TopicPartition(settings.topics.audit, 0)
    log, store, record = Silent({partition: 0}), Places({}), SimpleNamespace(value=b"{", offset=0)
    made: Any = store
    view = ViewConsumer(settings, made)
    view._ids = {partition.topic: partition.topic}

    async def nothing(_: object) -> None:
        await asyncio.sleep(60)

    async def put(_: object) -> None: ...

    hanging: Any = log
    hanging.commit, made.put_actions = nothing, put
    asyncio.run(view._step(hanging, {partition: [record]}))
    assert "does not answer in time" in (view.waiting_for or "")

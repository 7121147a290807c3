"""What a session does with what Faust hands it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NoReturn, Self

import pytest

from streams.app.agent import Agent
from streams.errors import TransportError
from streams.metrics import Metrics
from streams.session import Session
from streams.settings import load_settings
from streams.state.memory import MemoryStateStore
from streams.status import Status
from tests.fakes.pipeline import CountingDetector, JournalPublisher
from tests.fakes.records import FakeEvent, event_of


@dataclass
class FakeStream:
    """Of Faust's stream, what an agent uses."""

    given: list[FakeEvent]
    acknowledged: list[FakeEvent] = field(default_factory=list)
    took: asyncio.Event = field(default_factory=asyncio.Event)

    def noack(self) -> Self:
        return self

    async def events(self) -> AsyncIterator[FakeEvent]:
        for event in self.given:
            yield event

    async def ack(self, event: FakeEvent) -> None:
        self.acknowledged.append(event)
        if len(self.acknowledged) == len(self.given):
            self.took.set()


def raised(error: BaseException) -> NoReturn:
    """In place of the end of the process."""
    raise error


def a_session(store: MemoryStateStore) -> Any:
    """One that holds partition 0 from offset 3 on."""
    store.claim([0], 1)
    agent = Agent(
        name="labels",
        topic="labels",
        group="g",
        store=store,
        detector=CountingDetector(store),
        model="",
        max_batch=8,
        max_unflushed=32,
    )
    session: Any = Session(agent, load_settings(), Status(), Metrics("test"))
    session._fail = raised
    session._delivery._publisher = JournalPublisher([])
    session._delivery.positions.begin(0, 3)
    return session


def test_a_batch_that_was_fetched_before_a_seek_moves_neither_rows_nor_marker() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        session = a_session(store)
        stale, fresh = event_of([b"x", b"y"], first=7), event_of([b"a", b"b"], first=3)
        session._app.consumer = SimpleNamespace(
            is_stale=lambda batch: batch is stale.value, take=lambda batch: None
        )
        stream = FakeStream([stale, fresh])
        (agent_of_faust,) = session._app.agents.values()
        await agent_of_faust.fun(stream)
        await asyncio.wait_for(stream.took.wait(), 10)
        assert stream.acknowledged == [stale, fresh]
        assert store.markers([0]) == {0: 4}
        assert session._delivery.positions.reached(0) == 5
        session._lane.close()
        session._datadir.cleanup()

    asyncio.run(scenario())


def test_a_batch_after_one_that_never_came_ends_the_process_before_it_is_applied() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        session = a_session(store)

        def take(batch: Any) -> None:
            raise TransportError("records up to offset 2 never reached the agent")

        session._app.consumer = SimpleNamespace(is_stale=lambda batch: False, take=take)
        (agent_of_faust,) = session._app.agents.values()
        with pytest.raises(TransportError, match="never reached"):
            await agent_of_faust.fun(FakeStream([event_of([b"a"], first=3)]))
        assert store.markers([0]) == {0: None}
        session._lane.close()
        session._datadir.cleanup()

    asyncio.run(scenario())

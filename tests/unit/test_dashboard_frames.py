"""The last pictures are read once for all who ask, also where that fails."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.dashboard import frames
from streams.dashboard.frames import Frame, LastFrames
from streams.errors import BrokerError, TopicMissing
from streams.settings import Settings


class Reading:
    """A topic's end that is read as often as `count` says, and fails as `error` says."""

    def __init__(self, last: LastFrames, error: Exception | None = None) -> None:
        self.last, self.error, self.count = last, error, 0
        made: Any = last
        made._read = self.read

    async def read(self) -> None:
        self.count += 1
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        self.last._frames["yard"] = Frame(b"jpeg", 7, 6)

    async def ask(self, times: int) -> list[Any]:
        asking = (self.last.get("yard") for _ in range(times))
        return await asyncio.gather(*asking, return_exceptions=True)


def test_a_read_that_fails_is_told_to_all_and_not_repeated_by_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "AGAIN_S", 0.1)

    async def use() -> None:
        reading = Reading(LastFrames(Settings()), BrokerError("no broker"))
        found = await reading.ask(9)
        assert [str(one) for one in found] == ["no broker"] * 9
        assert reading.count == 1
        await asyncio.sleep(0.11)
        reading.error = None
        assert await reading.ask(9) == [Frame(b"jpeg", 7, 6)] * 9
        assert reading.count == 2

    asyncio.run(use())


def test_a_broker_that_does_not_answer_holds_nobody_up_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frames, "_WITHIN_S", 0.05)

    async def use() -> None:
        last: Any = LastFrames(Settings())
        last._read = asyncio.Event().wait
        for _ in range(2):
            with pytest.raises(BrokerError, match="does not answer in time"):
                await asyncio.wait_for(last.get("yard"), 2)

    asyncio.run(use())


def test_without_the_topic_there_is_no_picture() -> None:
    async def use() -> None:
        reading = Reading(LastFrames(Settings()), TopicMissing("no frames"))
        assert await reading.ask(2) == [None, None]
        assert reading.count == 1

    asyncio.run(use())


@pytest.mark.parametrize(
    ("headers", "taken_at"),
    [
        ([], 70),
        ([("captured_at", b"60"), ("seq", b"1")], 60),
        ([("captured_at", b"soon")], 70),
        ([("captured_at", None)], 70),
        ([("captured_at", b"9" * 40)], 70),
    ],
)
def test_a_picture_is_of_when_it_was_taken(
    headers: list[tuple[str, bytes | None]], taken_at: int
) -> None:
    last = LastFrames(Settings())
    last._keep(SimpleNamespace(key=b"yard", value=b"jpeg", timestamp=70, headers=headers))
    assert last._frames["yard"] == Frame(b"jpeg", 70, taken_at)

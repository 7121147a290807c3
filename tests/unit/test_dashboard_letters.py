"""Dead letters: what is kept of those that are shown, and the record of those that go back."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from streams.dashboard import letters
from streams.dashboard.access.users import LOCAL, Principal
from streams.dashboard.desk import LONGEST_TEXT
from streams.dashboard.letters import Letters, NewestLetters, Shown, send_back_on_record, told
from streams.dead_letters.index import Letter, Wanted
from streams.errors import BrokerError, TocsinError
from streams.schemas import DeadLetter
from streams.settings import Settings

WHO = Principal(LOCAL, "analyst")


class Log:
    """What happened, in order; `fails` are the steps that do not work."""

    def __init__(self, *fails: str) -> None:
        self.steps: list[str] = []
        self.fails = fails

    def step(self, name: str, kind: str) -> None:
        if kind in self.fails:
            raise BrokerError(f"no broker for {kind}")
        self.steps.append(name)

    async def record(self, who: str, action: str, text: str) -> None:
        self.step(text, "the result" if text.startswith(("done", "could")) else "the record")

    async def send(self, settings: Settings, names: list[str]) -> Counter[str]:
        self.step("sent", "the letters")
        return Counter({"sent": len(names)})


def sent(log: Log, names: list[str], monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    desk: Any = log
    monkeypatch.setattr(letters, "send_back", log.send)
    return asyncio.run(send_back_on_record(Settings(), desk, names, WHO))


def test_five_hundred_names_are_on_record_in_full() -> None:
    names = [f"transactions.dead:{i % 12}:{10**12 + i}" for i in range(500)]
    texts = told(names)
    assert max(map(len, texts)) <= LONGEST_TEXT
    assert len(texts) < 12
    assert [name for text in texts for name in text.removeprefix("to send back: ").split()] == names
    longest = ["a" * 512] * 500
    assert max(map(len, told(longest))) <= LONGEST_TEXT


def test_letters_are_on_record_before_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    assert sent(log, ["a:0:1", "a:0:2"], monkeypatch) == {"sent": 2}
    assert log.steps == ["to send back: a:0:1 a:0:2", "sent", "done: 2 sent"]


def test_what_cannot_be_put_on_record_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log("the record")
    with pytest.raises(TocsinError, match="no broker for the record"):
        sent(log, ["a:0:1"], monkeypatch)
    assert log.steps == []


def test_what_came_of_it_is_on_record_where_that_can_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log("the letters")
    with pytest.raises(TocsinError, match="no broker for the letters"):
        sent(log, ["a:0:1"], monkeypatch)
    assert log.steps[1:] == ["could not be sent back: no broker for the letters"]
    log = Log("the result")
    assert sent(log, ["a:0:1"], monkeypatch) == {"sent": 1}
    assert "is not on record" in caplog.text


def buried(offset: int, value: bytes) -> Letter:
    content = DeadLetter(value, b"k", (("h", value),), "too dark", "decode", "frames", 0, offset, 1)
    return Letter("frames.dead", 0, offset, 1_000 + offset, content)


class Topic:
    """Dead letters of large frames; counts how often it is read, and how many read at once."""

    def __init__(self) -> None:
        self.readings = self.now = self.most = 0
        self.is_away = False

    async def find(self, *_: Any, **__: Any) -> AsyncGenerator[Letter, None]:
        self.readings += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            if self.is_away:
                raise BrokerError("no broker")
            for offset in range(3):
                yield buried(offset, b"x" * 4_000_000)
        finally:
            self.now -= 1


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic()
    monkeypatch.setattr(letters, "find_letters", made.find)
    return made


def test_of_a_letter_no_more_is_kept_than_is_shown(topic: Topic) -> None:
    found = asyncio.run(NewestLetters(Settings()).find(Wanted(), 2))
    assert [one.name for one in found.newest] == ["frames.dead:0:2", "frames.dead:0:1"]
    assert found.total == 3
    assert [(one.size, len(one.head)) for one in found.newest] == [(4_000_000, 4_096)] * 2
    whole = Shown.of(buried(2, b"x" * 4_000_000))
    assert found.newest[0] == whole
    assert len(pickle.dumps(whole)) < 5_000


def test_however_many_look_the_topics_are_read_once_and_anew_after_a_moment(
    topic: Topic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    box = NewestLetters(Settings())

    async def look(reason: str | None = None) -> Sequence[Letters | BaseException]:
        asking = (box.find(Wanted(reason=reason), 1) for _ in range(20))
        return await asyncio.gather(*asking, return_exceptions=True)

    async def use() -> None:
        nonlocal clock
        await look()
        assert topic.readings == 1
        await asyncio.gather(look(), *(look(f"dark{n}") for n in range(12)))
        assert (topic.readings, topic.most) == (13, 1)
        assert len(box._kept) == 8
        clock += letters.KEPT_S
        topic.is_away = True
        away = await look()
        assert {str(one) for one in away} == {"no broker"}
        assert topic.readings == 14
        clock += letters.KEPT_S
        topic.is_away = False
        assert not any(isinstance(one, BaseException) for one in await look())

    asyncio.run(use())

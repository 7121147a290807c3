"""Dead letters that are sent back are on record before they go, all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from streams.dashboard import letters
from streams.dashboard.access.users import LOCAL, Principal
from streams.dashboard.desk import LONGEST_TEXT
from streams.dashboard.letters import send_back_on_record, told
from streams.errors import BrokerError, TocsinError
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

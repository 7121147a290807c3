"""Who logs out is out, or is told that they are not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.dashboard.access.users import Principal
from streams.dashboard.pages import frame
from streams.errors import BrokerError, StoreUnavailable, TocsinError


class Visit:
    """An open page of somebody who is logged in."""

    def __init__(self, redis: TocsinError | None = None, kafka: TocsinError | None = None) -> None:
        self.redis, self.kafka = redis, kafka
        self.cookie, self.principal = "c", Principal("ann", "analyst")
        self.ended, self.said, self.went = list[str](), list[str](), list[str]()
        self.say = self.said.append
        self.services = SimpleNamespace(sessions=self, desk=self, provider=None)

    async def end(self, cookie: str) -> None:
        if self.redis is not None:
            raise self.redis
        self.ended.append(cookie)

    async def record(self, *_: Any) -> None:
        if self.kafka is not None:
            raise self.kafka


def log_out(visit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame.ui, "navigate", SimpleNamespace(to=visit.went.append))
    asyncio.run(frame._log_out(visit, None, "http://127.0.0.1"))


def test_who_logs_out_comes_to_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Visit()
    log_out(visit, monkeypatch)
    assert (visit.ended, visit.went, visit.said) == (["c"], ["/login"], [])


def test_a_logout_that_fails_is_said_and_the_page_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Visit(redis=StoreUnavailable("cannot reach Redis"))
    log_out(visit, monkeypatch)
    assert visit.said == ["You are still logged in: cannot reach Redis"]
    assert visit.went == []


def test_a_logout_that_cannot_be_put_on_record_is_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    visit = Visit(kafka=BrokerError("no broker"))
    log_out(visit, monkeypatch)
    assert (visit.ended, visit.went, visit.said) == (["c"], ["/login"], [])
    assert "a logout of ann is not on record: no broker" in caplog.text

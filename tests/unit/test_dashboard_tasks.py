"""What crashes in the background is said, and begun anew."""

from __future__ import annotations

import asyncio

import pytest

from streams.dashboard import tasks
from streams.dashboard.tasks import Tasks


def test_a_crash_is_said_and_the_work_begun_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    monkeypatch.setattr(tasks, "SOUND_S", 0.05)
    made, again = Tasks(), asyncio.Event()
    starts = iter([True, False])

    async def crash_at_first() -> None:
        if next(starts):
            raise KeyError("offset")
        again.set()
        await asyncio.sleep(60)

    async def use() -> None:
        async with made.running({"the view": crash_at_first}):
            assert made.crashed == {}
            await again.wait()
            assert made.crashed == {"the view": "KeyError: 'offset'"}
            await asyncio.sleep(0.1)
            assert made.crashed == {}  # it has run for a while

    asyncio.run(use())
    assert "the view crashed and is begun anew" in caplog.text


def test_work_that_ends_is_begun_anew_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    made = Tasks()

    async def end() -> None:
        return

    async def use() -> None:
        async with made.running({"the sweep": end}):
            await asyncio.sleep(0.05)
            assert made.crashed == {"the sweep": "it ended"}

    asyncio.run(use())

"""A worker that stands still says why, or ends; one that only was away does neither."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import pytest

from streams.errors import BrokerError, Stuck
from streams.metrics import Metrics
from streams.pipeline import watchdog
from streams.pipeline.positions import Positions
from streams.pipeline.watchdog import Watchdog
from streams.status import Status


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a hundred times as fast."""
    for name in ("LOOK_S", "ASK_S", "ASK_IDLE_S", "ABSENT_S"):
        monkeypatch.setattr(watchdog, name, getattr(watchdog, name) / 100)


def watch(
    seconds: float,
    *,
    lag: int = 10,
    ask: Callable[[], None] = lambda: None,
    meanwhile: Callable[[Status], None] = lambda _: None,
    published: Callable[[], int] = lambda: 7,
    ends: Mapping[int, int] | None = None,
) -> Status:
    """Watch a worker that does not move; it is stuck after 0.2 s."""
    status = Status()
    status.joined()

    async def asked() -> None:
        ask()

    async def told() -> Mapping[int, int]:
        if ends is None:
            raise BrokerError("one partition has no leader")
        return ends

    async def scenario() -> None:
        dog = Watchdog(
            progress=lambda: {0: (5, 5 + lag)},
            published=published,
            positions=Positions(status),
            ask=asked,
            ends=told,
            metrics=Metrics("fraud"),
            status=status,
            stuck_after_s=0.2,
        )
        task = asyncio.ensure_future(dog.run())
        await asyncio.sleep(0.1)
        meanwhile(status)
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            await task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    return status


def test_a_worker_that_stands_still_for_no_reason_ends() -> None:
    with pytest.raises(Stuck, match="no progress for 0 s at a lag of 10 records"):
        watch(10.0)


def test_a_worker_whose_alerts_go_out_slowly_does_not_stand_still() -> None:
    taken = itertools.count()
    watch(1.0, published=lambda: next(taken))


def test_without_a_lag_there_is_nothing_to_do() -> None:
    watch(0.5, lag=0)


def test_what_no_fetch_has_told_of_is_a_lag_as_well() -> None:
    with pytest.raises(Stuck, match="at a lag of 3 records"):
        watch(10.0, lag=0, ends={0: 8, 1: 99})


def test_a_broker_that_is_away_is_a_reason_though_nothing_is_to_be_sent() -> None:
    seen: list[list[str]] = []

    def away() -> None:
        raise BrokerError("nobody answers")

    watch(1.0, ask=away, meanwhile=lambda status: seen.append(status.reasons()))
    assert seen == [["waiting for Kafka: nobody answers"]]


def test_a_partition_that_stands_still_beside_others_is_told_and_ends_nothing() -> None:
    status, metrics = Status(), Metrics("fraud")
    status.joined()
    seconds = itertools.count()

    async def answers() -> None:
        """Kafka is there."""

    async def nothing() -> Mapping[int, int]:
        return {}

    async def scenario() -> None:
        dog = Watchdog(
            progress=lambda: {0: (5, 9), 1: (next(seconds), 10**9), 2: (7, 7)},
            published=lambda: 0,
            positions=Positions(status),
            ask=answers,
            ends=nothing,
            metrics=metrics,
            status=status,
            stuck_after_s=0.2,
        )
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(dog.run(), 0.6)

    asyncio.run(scenario())
    moved = [
        metrics.registry.get_sample_value(
            "tocsin_partition_progress_timestamp_seconds",
            {"agent": "fraud", "partition": partition},
        )
        for partition in "012"
    ]
    still, moves, idle = (time.time() - (at or 0.0) for at in moved)
    assert still > 0.5 > moves
    assert idle < 0.5


def test_a_worker_that_was_stopped_is_not_stuck_when_it_goes_on() -> None:
    watch(0.1, meanwhile=lambda _: time.sleep(0.5))

"""Virtual time: who steps when, and what a process that dies or stands still does not do."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any

import pytest

from streams.simulation.clock import Clock, Process, TooLong
from streams.simulation.loop import Thread, VirtualLoop

Work = Callable[[VirtualLoop], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def no_loop_is_left_running() -> Iterator[None]:
    yield
    events._set_running_loop(None)


class Bed:
    """Processes on one clock."""

    def __init__(self, seed: int = 1, limit: int = 100_000) -> None:
        self.clock = Clock(Random(seed), limit)
        self.journal: list[Any] = []

    def process(self, work: Work | None = None, *, takes: float = 0.0) -> VirtualLoop:
        process = Process(self.clock, "p")
        loop = VirtualLoop(process, lambda: takes)  # type: ignore[abstract]
        if work is not None:
            loop.call_soon(lambda: loop.create_task(work(loop)))
        return loop

    def note(self, what: Any) -> None:
        self.journal.append((round(self.clock.now, 3), what))


def test_nothing_to_do_moves_the_clock_to_the_end() -> None:
    bed = Bed()
    bed.clock.run(5.0)

    assert bed.clock.now == 5.0


def test_sleepers_wake_in_the_order_of_their_time() -> None:
    bed = Bed()

    def sleeper(seconds: float) -> Work:
        async def work(_: VirtualLoop) -> None:
            await asyncio.sleep(seconds)
            bed.note(seconds)

        return work

    for seconds in (3.0, 1.0, 2.0):
        bed.process(sleeper(seconds))
    bed.clock.run(10.0)

    assert bed.journal == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


def test_calls_of_one_loop_run_in_their_order_and_those_of_two_in_any() -> None:
    orders = set()
    for seed in range(20):
        bed = Bed(seed)
        for name in "ab":
            loop = bed.process()
            for number in range(3):
                loop.call_soon(bed.note, f"{name}{number}")
        bed.clock.run(1.0)
        order = [what for _, what in bed.journal]
        assert [what for what in order if what[0] == "a"] == ["a0", "a1", "a2"]
        orders.add(tuple(order))

    assert len(orders) > 5


def test_timeouts_locks_and_threads_of_asyncio_work() -> None:
    bed = Bed()

    async def work(_: VirtualLoop) -> None:
        lock = asyncio.Lock()
        async with lock:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lock.acquire(), 0.5)
        bed.note(await asyncio.to_thread(lambda: "from the thread"))
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(int, "no")
        bed.note(sum(await asyncio.gather(asyncio.sleep(1, 1), asyncio.sleep(2, 2))))

    loop = bed.process(work, takes=0.25)
    bed.clock.run(10.0)

    assert bed.journal == [(0.75, "from the thread"), (3.0, 3)]
    assert loop.errors == []


def test_a_thread_does_one_thing_after_another_and_takes_its_time() -> None:
    bed = Bed()
    thread = Thread(bed.process()._process, lambda: 1.0)
    thread.submit(bed.note, "first")
    thread.submit(bed.note, "second")
    bed.clock.run(10.0)

    assert bed.journal == [(1.0, "first"), (2.0, "second")]


def test_who_blocks_in_a_step_does_not_hold_up_the_others() -> None:
    bed = Bed()
    process = bed.process()._process
    thread, other = Thread(process, lambda: 0.0), Thread(process, lambda: 0.0)

    def block() -> None:
        bed.note("blocks")
        bed.clock.sleep(2.0)
        bed.note("goes on")

    thread.submit(block)
    thread.submit(bed.note, "behind it")
    bed.clock.at(1.0, lambda: other.submit(bed.note, "beside it"))
    bed.clock.run(10.0)

    assert bed.journal == [
        (0.0, "blocks"),
        (1.0, "beside it"),
        (2.0, "goes on"),
        (2.0, "behind it"),
    ]


def test_a_dead_process_takes_no_further_step_not_even_a_finally() -> None:
    bed = Bed()

    async def work(_: VirtualLoop) -> None:
        try:
            await asyncio.sleep(2.0)
        finally:
            bed.note("cleaned up")

    loop = bed.process(work)
    thread = Thread(loop._process, lambda: 1.5)
    thread.submit(bed.note, "late")
    bed.clock.at(1.0, loop._process.die)
    bed.clock.run(10.0)

    assert bed.journal == []
    assert loop.is_closed()
    loop.abandon()


def test_a_process_dies_before_the_step_that_was_drawn() -> None:
    bed = Bed()
    loop = bed.process()
    for number in range(5):
        loop.call_soon(bed.note, number)
    deaths: list[float] = []
    loop._process.on_death = lambda: deaths.append(bed.clock.now)
    loop._process.steps_left = 3
    bed.clock.run(1.0)

    assert [what for _, what in bed.journal] == [0, 1]
    assert deaths == [0.0]


def test_a_process_that_exits_in_the_middle_of_a_step_does_not_finish_it() -> None:
    bed = Bed()
    loop = bed.process()

    def step() -> None:
        bed.note("before")
        loop._process.exit()
        bed.note("after")  # type: ignore[unreachable]

    Thread(loop._process, lambda: 0.0).submit(step)
    bed.clock.run(1.0)

    assert bed.journal == [(0.0, "before")]


def test_a_stopped_process_stands_still_and_then_goes_on_with_what_has_come() -> None:
    bed = Bed()

    async def work(_: VirtualLoop) -> None:
        await asyncio.sleep(1.0)
        bed.note("woke")

    loop = bed.process(work)
    bed.clock.at(0.5, loop._process.stop)
    bed.clock.at(5.0, loop._process.go_on)
    bed.clock.run(10.0)

    assert bed.journal == [(5.0, "woke")]


def test_what_a_callback_raises_is_kept() -> None:
    bed = Bed()
    loop = bed.process()
    loop.call_soon(int, "no")
    bed.clock.run(1.0)

    assert [type(error) for error in loop.errors] == [ValueError]


def test_a_history_without_an_end_is_given_up() -> None:
    bed = Bed(limit=1000)

    loop = bed.process()

    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(TooLong, match="1001 steps"):
        bed.clock.run(1.0)

"""The lane: two threads in a row, one order, and no exception lost between them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from streams.metrics import Metrics
from streams.pipeline.batch import Batch
from streams.pipeline.lane import Aborted, Lane
from streams.state.memory import MemoryStateStore
from tests.fakes.pipeline import CountingDetector, poisoned
from tests.fakes.records import FakeRecord, batch_of


@pytest.fixture
def detector() -> CountingDetector:
    store = MemoryStateStore()
    store.claim([0], 1)
    return CountingDetector(store)


def with_lane(
    detector: CountingDetector, scenario: Callable[[Lane], Coroutine[Any, Any, None]]
) -> None:
    async def run() -> None:
        lane = Lane(detector, Metrics("test"))
        try:
            await asyncio.wait_for(scenario(lane), 10)
        finally:
            lane.close()

    asyncio.run(run())


def numbered(sequence: int, values: list[bytes]) -> Batch:
    return batch_of(values, first=100 * sequence, sequence=sequence)


def test_an_empty_batch_passes(detector: CountingDetector) -> None:
    async def scenario(lane: Lane) -> None:
        outcome = await lane.submit(batch_of([]))
        assert (outcome.messages, outcome.events) == ([], 0)
        (snapshot,) = await lane.snapshot(1, {0: 7})
        assert (snapshot.marker, len(snapshot.values)) == (7, 0)

    with_lane(detector, scenario)


def test_batches_come_out_in_the_order_in_which_they_went_in(detector: CountingDetector) -> None:
    order: list[tuple[str, int]] = []
    detector.on_prepare = lambda batch: order.append(("prepare", batch.sequence))
    detector.on_infer = lambda batch: order.append(("infer", batch.sequence))

    async def scenario(lane: Lane) -> None:
        await asyncio.gather(*(lane.submit(numbered(i, [b"x"])) for i in range(20)))

    with_lane(detector, scenario)
    for step in ("prepare", "infer"):
        assert [number for name, number in order if name == step] == list(range(20))


def test_a_batch_is_prepared_while_the_one_before_it_is_inferred(
    detector: CountingDetector,
) -> None:
    second_prepared = threading.Event()
    detector.on_prepare = lambda b: second_prepared.set() if b.sequence == 2 else None
    overlapped: list[bool] = []
    detector.on_infer = lambda b: (
        overlapped.append(second_prepared.wait(5)) if b.sequence == 1 else None
    )

    async def scenario(lane: Lane) -> None:
        await asyncio.gather(lane.submit(numbered(1, [b"x"])), lane.submit(numbered(2, [b"y"])))

    with_lane(detector, scenario)
    assert overlapped == [True]


def test_a_snapshot_covers_what_was_submitted_before_it_and_nothing_after(
    detector: CountingDetector,
) -> None:
    async def scenario(lane: Lane) -> None:
        first = lane.submit(numbered(1, [b"x", b"x"]))
        covered = lane.snapshot(1, {0: 101})
        second = lane.submit(numbered(2, [b"x"]))
        (snapshot,) = await covered
        await asyncio.gather(first, second)
        offset = np.frombuffer(snapshot.values[0].tobytes(), "<i8", count=1, offset=2)
        assert offset[0] == 101

    with_lane(detector, scenario)


@pytest.mark.parametrize("half", ["prepare", "infer"])
def test_a_failure_reaches_the_caller_and_aborts_the_batches_behind_it(
    detector: CountingDetector, half: str
) -> None:
    setattr(detector, f"on_{half}", poisoned(b"bad"))

    async def scenario(lane: Lane) -> None:
        futures = [
            lane.submit(numbered(1, [b"good"])),
            lane.submit(numbered(2, [b"bad"])),
            lane.submit(numbered(3, [b"good"])),
            lane.submit(numbered(4, [b"good"])),
        ]
        first, second, *behind = await asyncio.gather(*futures, return_exceptions=True)
        assert not isinstance(first, BaseException)
        assert isinstance(second, ValueError)
        assert [type(error) for error in behind] == [Aborted, Aborted]
        with pytest.raises(Aborted):
            await lane.submit(numbered(5, [b"good"]))

        await lane.drop(None)
        assert (await lane.submit(numbered(6, [b"good"]))).events == 1

    with_lane(detector, scenario)


def test_a_drop_forgets_rows_that_were_half_advanced(detector: CountingDetector) -> None:
    detector.on_infer = poisoned(b"bad")

    async def scenario(lane: Lane) -> None:
        with pytest.raises(ValueError, match="digest"):
            await lane.submit(numbered(1, [b"bad"]))
        assert len(detector.table) == 1
        await lane.drop(None)
        assert len(detector.table) == 0

    with_lane(detector, scenario)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError("device")])
def test_whatever_a_thread_raises_reaches_the_future(
    detector: CountingDetector, error: BaseException
) -> None:
    def trap(_: Batch) -> None:
        raise error

    detector.on_infer = trap

    async def scenario(lane: Lane) -> None:
        future = lane.submit(numbered(1, [b"x"]))
        await asyncio.wait([future])
        assert future.exception() is error
        # The threads live on.
        await lane.drop(None)
        detector.on_infer = lambda _: None
        await lane.submit(numbered(2, [b"x"]))

    try:
        with_lane(detector, scenario)
    except type(error):
        pytest.fail("it left through the event loop")


def test_a_caller_that_gave_up_disturbs_nobody(detector: CountingDetector) -> None:
    leave = threading.Event()
    detector.on_infer = lambda _: leave.wait(5)

    async def scenario(lane: Lane) -> None:
        given_up = lane.submit(numbered(1, [b"x"]))
        given_up.cancel()
        leave.set()
        assert (await lane.submit(numbered(2, [b"x"]))).events == 1

    with_lane(detector, scenario)


def test_a_rejected_batch_becomes_dead_letters_even_behind_a_failure(
    detector: CountingDetector,
) -> None:
    detector.on_infer = poisoned(b"bad")

    async def scenario(lane: Lane) -> None:
        bad = numbered(1, [b"bad"])
        with pytest.raises(ValueError, match="digest"):
            await lane.submit(bad)
        outcome = await lane.reject(bad, "because")
        assert [(m.topic, m.value) for m in outcome.messages] == [("dead", b"bad")]

    with_lane(detector, scenario)


def test_a_closed_lane_ends_without_waiting_for_what_computes(detector: CountingDetector) -> None:
    entered, leave = threading.Event(), threading.Event()

    def compute(_: Batch) -> None:
        entered.set()
        leave.wait(10)

    detector.on_infer = compute

    async def scenario(lane: Lane) -> None:
        future = lane.submit(numbered(1, [b"x"]))
        await asyncio.to_thread(entered.wait, 5)
        lane.close()
        lane.close()
        assert not future.done()

    with_lane(detector, scenario)
    leave.set()


def test_halves_of_a_batch_keep_their_partitions_offsets_and_quiet_places() -> None:
    records: list[Any] = [FakeRecord(offset, b"x") for offset in (5, 6, 3, 4, 9)]
    batch = Batch(records, np.array([0, 0, 1, 1, 0], np.int32), 7, {1: 4})
    left, right = batch.halves()

    assert batch.ends == {0: 9, 1: 4}
    assert (left.ends, right.ends) == ({0: 6}, {0: 9, 1: 4})
    assert [len(left.records), len(right.records)] == [2, 3]
    assert (left.sequence, left.quiet_below) == (7, {1: 4})
    assert batch_of([]).ends == {}


def test_a_stop_iteration_reaches_the_caller_too(detector: CountingDetector) -> None:
    def exhausted(_: Batch) -> None:
        raise StopIteration

    detector.on_infer = exhausted

    async def scenario(lane: Lane) -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await lane.submit(batch_of([b"x"]))

    with_lane(detector, scenario)

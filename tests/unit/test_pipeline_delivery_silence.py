"""A batch without records, which closes silent cameras, goes the way of any other."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.fakes.records import event_of
from tests.unit.test_pipeline_delivery import Bed, run, values

GATE = {(0, "gate"): 1.0}


async def stored(bed: Bed, count: int = 5) -> None:
    """Bring partition 0 to the marker `count` - 1, alerts being held until they are stored."""
    bed.detector.holds = True
    event = event_of(values(0, count))
    await bed.accept(event)
    await bed.settled(event)
    bed.journal.clear()


def test_its_alerts_are_stored_then_published_and_the_marker_stays() -> None:
    async def scenario(bed: Bed) -> None:
        await stored(bed)
        bed.delivery.close_silent(GATE)
        await bed.until(lambda: ("published", [b"gate"]) in bed.journal)
        assert bed.store.outbox() == b"gate"

    bed = run(scenario)
    assert bed.journal == [("stored", 0, 4), ("published", [b"gate"])]
    assert bed.store.server.markers == {0: 4}
    assert bed.sample("acknowledged_total") == 5


def test_in_a_flush_with_records_the_marker_is_theirs() -> None:
    async def scenario(bed: Bed) -> None:
        await stored(bed)
        event = event_of(values(5, 3), first=5)
        await bed.accept(event)
        bed.delivery.close_silent(GATE)
        await bed.settled(event)
        await bed.until(lambda: b"gate" in bed.publisher.values())

    bed = run(scenario)
    assert bed.store.server.markers == {0: 7}
    assert bed.publisher.counts()[b"gate"] == 1


def test_behind_a_flush_that_is_under_way_the_marker_does_not_go_back() -> None:
    async def scenario(bed: Bed) -> None:
        await stored(bed)
        leave, reached = threading.Event(), threading.Event()

        def hold() -> None:
            reached.set()
            leave.wait(10)

        bed.store.fault = hold
        event = event_of(values(5, 3), first=5)
        await bed.accept(event)
        await bed.until(reached.is_set)
        bed.delivery.close_silent(GATE)
        leave.set()
        await bed.settled(event)
        await bed.until(lambda: b"gate" in bed.publisher.values())

    bed = run(scenario)
    assert [step[2] for step in bed.journal if step[0] == "stored"] == [7, 7]


def test_only_partitions_with_state_of_ours_are_touched() -> None:
    async def scenario(bed: Bed) -> None:
        await stored(bed)
        assert [bed.delivery.positions.holds(partition) for partition in (0, 1, 7)] == [
            True,
            False,
            False,
        ]
        bed.delivery.close_silent({(1, "door"): 1.0, (7, "yard"): 1.0})
        leaving = asyncio.ensure_future(bed.delivery.release({0}))
        await asyncio.sleep(0)
        assert not bed.delivery.positions.holds(0)
        bed.delivery.close_silent(GATE)
        await leaving
        bed.delivery.close_silent(GATE)
        await asyncio.sleep(0.05)

    assert run(scenario).journal == []


def test_the_failure_of_a_batch_beside_it_loses_no_record() -> None:
    async def scenario(bed: Bed) -> None:
        await stored(bed)
        failures = iter([True])

        def trap(_: object) -> None:
            if next(failures, False):
                raise MemoryError("out of device memory")

        bed.detector.on_infer = trap
        event = event_of(values(5, 3), first=5)
        await bed.accept(event)
        bed.delivery.close_silent(GATE)
        await bed.settled(event)

    bed = run(scenario)
    assert bed.store.count_of("card") == 8
    assert bed.publisher.values("dead") == []
    assert bed.store.server.markers == {0: 7}


@pytest.mark.parametrize("half", ["prepare", "infer"])
def test_its_own_failure_ends_the_worker(half: str) -> None:
    async def scenario(bed: Bed) -> None:
        await stored(bed)

        def trap(_: object) -> None:
            raise MemoryError("out of device memory")

        setattr(bed.detector, f"on_{half}", trap)
        bed.delivery.close_silent(GATE)
        await bed.failed.wait()

    bed = run(scenario)
    assert str(bed.failures[0]) == "out of device memory"
    assert bed.journal == []

"""The delivery contract: published before stored before acknowledged, and one way back."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from streams.errors import Fenced, ForeignState, StoreUnavailable, Stuck
from streams.metrics import Metrics
from streams.pipeline import recovery
from streams.pipeline.batch import Batch
from streams.pipeline.delivery import DEPTH, Delivery
from streams.pipeline.job import Limits
from streams.pipeline.lane import Lane
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.patient import PatientStateStore
from streams.state.store import PartitionSnapshot, digests
from streams.status import Status
from tests.fakes.pipeline import (
    CountingDetector,
    Journal,
    JournalPublisher,
    JournalStore,
    poisoned,
)
from tests.fakes.records import FakeEvent, event_of

PARTITIONS = (0, 1)


class Bed:
    """One worker's delivery with everything around it replaced by a fake."""

    def __init__(
        self, server: MemoryServer | None = None, *, patient: bool = False, **limits: Any
    ) -> None:
        self.journal: Journal = []
        self.store = JournalStore(self.journal, server)
        self.store.claim(PARTITIONS, 1)
        self.status = Status()
        self.status.joined()
        self.stop = threading.Event()
        store: Any = self.store
        if patient:
            store = PatientStateStore(self.store, self.status, self.stop)
        self.detector = CountingDetector(self.store)
        self.metrics = Metrics("test")
        self.publisher = JournalPublisher(self.journal)
        self.lane = Lane(self.detector, self.metrics)
        self.failures: list[BaseException] = []
        self.failed = asyncio.Event()
        sizes = {"max_batch": 8, "max_unflushed": 32, "flush_interval_s": 0.01, **limits}
        self.delivery = Delivery(
            lane=self.lane,
            store=store,
            publisher=self.publisher,
            metrics=self.metrics,
            status=self.status,
            limits=Limits(**sizes),
            fail=self._fail,
        )
        self.delivery.start(self._acknowledge)
        for partition in PARTITIONS:
            self.delivery.positions.begin(partition, 0, quiet_below=0)

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    async def _acknowledge(self, event: FakeEvent) -> None:
        assert not event.acknowledged
        event.acknowledged = True
        batch = event.value
        self.journal.append(("acknowledged", batch.tp.partition, batch.last_offset))

    async def accept(self, *events: FakeEvent) -> None:
        for event in events:
            await self.delivery.accept(event)

    async def settled(self, *events: FakeEvent) -> None:
        """Wait until all of `events` are acknowledged."""
        await self.until(lambda: all(event.acknowledged for event in events))

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what no event tells."""
        async with asyncio.timeout(10):
            while not condition():
                assert not self.failures, self.failures
                await asyncio.sleep(0.002)

    def close(self) -> None:
        self.stop.set()
        for task in list(self.delivery._tasks):
            task.cancel()
        self.lane.close()

    def sample(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(f"tocsin_{name}", {"agent": "test"}) or 0.0


def run(scenario: Callable[[Bed], Coroutine[Any, Any, None]], **options: Any) -> Bed:
    async def main() -> Bed:
        bed = Bed(**options)
        try:
            await asyncio.wait_for(scenario(bed), 20)
        finally:
            bed.close()
        return bed

    return asyncio.run(main())


def values(start: int, count: int) -> list[bytes]:
    return [b"%d" % i for i in range(start, start + count)]


# -- the order of the steps -----------------------------------------------------------------------
def test_a_flush_without_events_touches_nothing() -> None:
    async def scenario(bed: Bed) -> None:
        await bed.delivery.flush()
        await asyncio.sleep(0.05)

    assert run(scenario).journal == []


def test_a_batch_is_published_then_stored_then_acknowledged() -> None:
    async def scenario(bed: Bed) -> None:
        event = event_of([b"a", b"b"])
        await bed.accept(event)
        await bed.settled(event)
        assert bed.store.count_of("card") == 2
        assert bed.delivery.positions.reached(0) == 2

    assert run(scenario).journal == [
        ("published", [b"a", b"b"]),
        ("stored", 0, 1),
        ("acknowledged", 0, 1),
    ]


def test_a_flush_right_behind_a_batch_stores_what_it_acknowledges() -> None:
    async def scenario(bed: Bed) -> None:
        event = event_of(values(0, 4))
        await bed.accept(event)
        await bed.delivery.flush()  # the batch's own task has not run yet
        assert event.acknowledged
        assert bed.store.count_of("card") == 4

    run(scenario)


def test_nothing_is_stored_or_acknowledged_while_the_broker_has_not_answered() -> None:
    async def scenario(bed: Bed) -> None:
        bed.publisher.gate.clear()
        events = [event_of(values(i, 1), first=i) for i in range(3)]
        await bed.accept(*events)
        await asyncio.sleep(0.1)
        assert bed.journal == []
        bed.publisher.gate.set()
        await bed.settled(*events)

    run(scenario)


def test_nothing_is_acknowledged_while_the_store_has_not_answered() -> None:
    async def scenario(bed: Bed) -> None:
        leave = threading.Event()
        bed.store.fault = lambda: leave.wait(10)
        event = event_of([b"a"])
        await bed.accept(event)
        await asyncio.sleep(0.1)
        assert bed.journal == [("published", [b"a"])]
        leave.set()
        await bed.settled(event)

    run(scenario)


def test_every_acknowledgement_follows_the_flush_that_covers_it() -> None:
    async def scenario(bed: Bed) -> None:
        events = [
            event_of(values(i, 3), partition=i % 2, first=3 * (i // 2), key=b"c%d" % (i % 5))
            for i in range(60)
        ]
        await bed.accept(*events)
        await bed.settled(*events)

    bed = run(scenario)
    stored = {0: -1, 1: -1}
    for step, *what in bed.journal:
        if step == "stored":
            assert what[1] > stored[what[0]]
            stored[what[0]] = what[1]
        elif step == "acknowledged":
            assert what[1] <= stored[what[0]]
    assert stored == {0: 89, 1: 89}
    assert bed.sample("acknowledged_total") == 180
    assert bed.sample("events_total") == 180


def test_waiting_partition_batches_are_joined_up_to_the_limit() -> None:
    async def scenario(bed: Bed) -> None:
        hold = threading.Event()
        bed.detector.on_prepare = lambda _: hold.wait(5)
        events = [event_of(values(2 * i, 2), first=2 * i) for i in range(12)]
        await bed.accept(*events)
        hold.set()
        await bed.settled(*events)

    sizes = run(scenario).detector.sizes
    assert sum(sizes) == 24
    assert max(sizes) == 8
    assert len(sizes) < 12


def test_a_partition_batch_larger_than_the_limit_goes_alone() -> None:
    async def scenario(bed: Bed) -> None:
        event = event_of(values(0, 20))
        await bed.accept(event)
        await bed.settled(event)

    assert run(scenario).detector.sizes == [20]


def test_no_more_batches_than_the_depth_are_under_way() -> None:
    async def scenario(bed: Bed) -> None:
        hold = threading.Event()
        bed.detector.on_infer = lambda _: hold.wait(5)
        events = [event_of(values(8 * i, 8), first=8 * i) for i in range(4)]
        await bed.accept(*events)
        await asyncio.sleep(0.05)
        assert bed.delivery._running == DEPTH
        hold.set()
        await bed.settled(*events)

    run(scenario)


@pytest.mark.parametrize("limits", [{}, {"max_unflushed": 10_000, "max_unflushed_bytes": 54}])
def test_back_pressure_bounds_what_is_not_flushed(limits: dict[str, int]) -> None:
    async def scenario(bed: Bed) -> None:
        bed.publisher.gate.clear()
        events = [event_of(values(4 * i, 4), first=4 * i) for i in range(30)]
        accepting = asyncio.ensure_future(bed.accept(*events))
        await asyncio.sleep(0.1)
        assert not accepting.done()
        assert bed.delivery._unflushed <= 32 + 4
        bed.publisher.gate.set()
        await accepting
        await bed.settled(*events)
        assert bed.delivery._unflushed == bed.delivery._unflushed_bytes == 0

    run(scenario, **limits)


def test_the_event_loop_is_free_while_a_batch_computes() -> None:
    async def scenario(bed: Bed) -> None:
        leave = threading.Event()
        bed.detector.on_prepare = bed.detector.on_infer = lambda _: leave.wait(5)
        event = event_of([b"a"])
        await bed.accept(event)
        for _ in range(50):  # heartbeats of the consumer would run here
            await asyncio.sleep(0.001)
        assert not event.acknowledged
        leave.set()
        await bed.settled(event)

    run(scenario)


# -- replays --------------------------------------------------------------------------------------
def test_what_was_stored_but_not_acknowledged_is_dropped_when_it_comes_again() -> None:
    server = MemoryServer()

    async def scenario(bed: Bed) -> None:
        event = event_of(values(0, 5))
        await bed.accept(event)
        await bed.settled(event)

    run(scenario, server=server)
    bed = run(scenario, server=server)

    assert bed.sample("replayed_total") == 5
    assert bed.publisher.sent == []
    assert bed.store.count_of("card") == 5


def test_what_was_published_but_not_stored_is_published_again_and_counted_once() -> None:
    server = MemoryServer()

    async def crash(bed: Bed) -> None:
        def crashed() -> None:
            raise Fenced("crashed before the flush")

        bed.store.fault = crashed
        await bed.accept(event_of(values(0, 5)))
        await bed.failed.wait()

    async def again(bed: Bed) -> None:
        event = event_of(values(0, 5))
        await bed.accept(event)
        await bed.settled(event)

    first, second = run(crash, server=server), run(again, server=server)

    assert first.publisher.values() == second.publisher.values() == values(0, 5)
    assert second.store.count_of("card") == 5


@pytest.mark.parametrize("poison", [None, b"2"])
def test_a_replay_that_ends_below_what_is_stored_does_not_take_the_marker_back(
    poison: bytes | None,
) -> None:
    server = MemoryServer()

    async def first(bed: Bed) -> None:
        event = event_of(values(0, 10))
        await bed.accept(event)
        await bed.settled(event)

    async def again(bed: Bed) -> None:
        bed.delivery.positions.markers.update(server.markers)
        if poison is not None:
            bed.detector.on_infer = poisoned(poison)
        event = event_of(values(0, 5))
        await bed.accept(event)
        await bed.settled(event)
        assert bed.delivery.positions.reached(0) == 10

    run(first, server=server)
    run(again, server=server)
    assert server.markers == {0: 9}


# -- failures of a batch --------------------------------------------------------------------------
@pytest.mark.parametrize("half", ["prepare", "infer"])
@pytest.mark.parametrize("place", [0, 7, 23, 31])
def test_recovery_halves_down_to_the_culprit_and_buries_only_it(half: str, place: int) -> None:
    async def scenario(bed: Bed) -> None:
        setattr(bed.detector, f"on_{half}", poisoned(b"%d" % place))
        events = [event_of(values(4 * i, 4), first=4 * i) for i in range(8)]
        await bed.accept(*events)
        await bed.settled(*events)

    bed = run(scenario)
    assert bed.publisher.counts("dead") == {b"%d" % place: 1}
    assert set(bed.publisher.values()) == set(values(0, 32)) - {b"%d" % place}
    assert bed.store.count_of("card") == 31
    assert bed.store.server.markers[0] == 31
    assert bed.delivery.positions.reached(0) == 32
    assert bed.sample("acknowledged_total") == 32
    assert bed.sample("events_total") == 31
    assert sorted(bed.detector.tallied) == sorted(values(0, 32))  # each once, however often scored
    (letter,) = [m for m in bed.publisher.sent if m.topic == "dead"]
    assert b"scoring failed: ValueError: cannot digest" in dict(letter.headers)["reason"]  # type: ignore[operator]


def test_a_poisoned_record_is_not_published_before_the_ones_in_front_of_it_are_stored() -> None:
    async def scenario(bed: Bed) -> None:
        bed.detector.on_infer = poisoned(b"5")
        event = event_of(values(0, 8))
        await bed.accept(event)
        await bed.settled(event)

    journal = run(scenario).journal
    assert ("published", [b"5"]) in journal
    buried = journal.index(("published", [b"5"]))
    assert ("stored", 0, 4) in journal[:buried]
    assert not any(step == "stored" and rest[1] >= 5 for step, *rest in journal[:buried])
    assert any(step == "stored" and rest[1] >= 5 for step, *rest in journal[buried:])


def test_poisoned_records_at_the_very_end_are_buried_too() -> None:
    async def scenario(bed: Bed) -> None:
        bed.detector.on_infer = poisoned(b"7")
        event = event_of(values(0, 8))
        await bed.accept(event)
        await bed.settled(event)

    bed = run(scenario)
    assert bed.publisher.values("dead") == [b"7"]
    assert bed.store.server.markers == {0: 7}


def test_batches_behind_a_failed_one_are_aborted_and_replayed_and_lose_nothing() -> None:
    async def scenario(bed: Bed) -> None:
        hold = threading.Event()

        def trap(batch: Batch) -> None:
            hold.wait(5)
            poisoned(b"1")(batch)

        bed.detector.on_infer = trap
        events = [event_of(values(8 * i, 8), first=8 * i) for i in range(4)]
        await bed.accept(*events)
        await asyncio.sleep(0.05)
        hold.set()
        await bed.settled(*events)
        bed.detector.on_infer = poisoned(b"40")
        more = [event_of(values(8 * i, 8), first=8 * i) for i in range(4, 7)]
        await bed.accept(*more)
        await bed.settled(*more)

    bed = run(scenario)
    assert bed.store.count_of("card") == 56 - 2
    assert bed.publisher.counts("dead") == {b"1": 1, b"40": 1}
    assert set(bed.publisher.values()) == set(values(0, 56)) - {b"1", b"40"}
    assert bed.sample("batch_failures_total") >= 2


def test_a_failure_that_passes_buries_nothing() -> None:
    async def scenario(bed: Bed) -> None:
        failures = iter([True, True])

        def trap(_: Batch) -> None:
            if next(failures, False):
                raise MemoryError("out of device memory")

        bed.detector.on_infer = trap
        event = event_of(values(0, 8))
        await bed.accept(event)
        await bed.settled(event)

    bed = run(scenario)
    assert bed.publisher.values("dead") == []
    assert bed.publisher.counts() == dict.fromkeys(values(0, 8), 1)
    assert bed.store.count_of("card") == 8


def test_records_on_two_partitions_recover_with_the_marker_of_each() -> None:
    async def scenario(bed: Bed) -> None:
        hold = threading.Event()

        def trap(batch: Batch) -> None:
            hold.wait(5)
            poisoned(b"x")(batch)

        bed.detector.on_infer = trap
        events = [
            event_of([b"a"], partition=0),
            event_of([b"b", b"x"], partition=1, first=5),
            event_of([b"c", b"d"], partition=0, first=1),
            event_of([b"e"], partition=1, first=7),
        ]
        await bed.accept(*events)
        hold.set()
        await bed.settled(*events)

    bed = run(scenario)
    assert bed.store.server.markers == {0: 2, 1: 7}
    assert (bed.store.count_of("card", 0), bed.store.count_of("card", 1)) == (3, 2)
    assert bed.publisher.counts("dead") == {b"x": 1}


def test_a_network_that_always_fails_ends_the_worker_instead_of_burying_the_topic(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recovery, "GIVE_UP_AFTER", 5)

    async def scenario(bed: Bed) -> None:
        def trap(_: Batch) -> None:
            raise RuntimeError("device lost")

        bed.detector.on_infer = trap
        await bed.accept(*(event_of(values(8 * i, 8), first=8 * i) for i in range(3)))
        await bed.failed.wait()

    caplog.set_level(logging.ERROR)
    bed = run(scenario)
    (error,) = bed.failures
    assert isinstance(error, Stuck)
    assert "6 records in a row cannot be scored (device lost)" in str(error)
    assert bed.publisher.values() == []
    assert bed.publisher.values("dead") == []
    assert not any(step == "acknowledged" for step, *_ in bed.journal)
    assert bed.store.server.markers == {}


def test_no_record_is_buried_while_the_device_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    # At little traffic each record is a batch: none of them ever sees another one fail.
    monkeypatch.setattr(recovery, "PROBES_S", (0.0, 0.0))

    async def scenario(bed: Bed) -> None:
        def lost(*_: object) -> None:
            raise RuntimeError("device lost")

        bed.detector.on_infer = bed.detector.on_probe = lost
        await bed.accept(event_of(values(0, 1)))
        await bed.failed.wait()

    bed = run(scenario)
    (error,) = bed.failures
    assert isinstance(error, Stuck)
    assert "nothing can be scored (device lost)" in str(error)
    assert bed.publisher.sent == []
    assert bed.store.server.markers == {}


def test_what_failed_while_the_device_was_away_is_scored_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "PROBES_S", (0.0, 0.0, 0.0))

    async def scenario(bed: Bed) -> None:
        looks = iter(range(1, 100))
        away = True

        def lost(*_: object) -> None:
            if away:
                raise RuntimeError("out of device memory")

        def look() -> None:
            nonlocal away
            away = next(looks) < 3
            lost()

        bed.detector.on_infer, bed.detector.on_probe = lost, look
        event = event_of(values(0, 8))
        await bed.accept(event)
        await bed.settled(event)

    bed = run(scenario)
    assert bed.publisher.values("dead") == []
    assert bed.publisher.values() == values(0, 8)
    assert bed.store.server.markers == {0: 7}


def test_single_poisoned_records_do_not_add_up_to_a_broken_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "GIVE_UP_AFTER", 2)

    async def scenario(bed: Bed) -> None:
        def trap(batch: Batch) -> None:
            if any(int(record.value or 0) % 2 for record in batch.records):
                raise ValueError("odd")

        bed.detector.on_infer = trap
        event = event_of(values(0, 16))
        await bed.accept(event)
        await bed.settled(event)

    assert len(run(scenario).publisher.values("dead")) == 8


# -- the store ------------------------------------------------------------------------------------
def test_a_store_that_is_away_for_a_while_is_waited_for_by_name() -> None:
    async def scenario(bed: Bed) -> None:
        away = threading.Event()

        def fault() -> None:
            if not away.is_set():
                raise StoreUnavailable("connection refused")

        bed.store.fault = fault
        events = [event_of(values(i, 1), first=i) for i in range(5)]
        await bed.accept(*events)
        await bed.until(bed.status.reasons)
        assert bed.status.reasons() == ["waiting for Redis: connection refused"]
        assert not any(event.acknowledged for event in events)
        away.set()
        await bed.settled(*events)
        assert bed.status.reasons() == []

    bed = run(scenario, patient=True)
    assert bed.store.count_of("card") == 5
    assert bed.publisher.counts() == dict.fromkeys(values(0, 5), 1)


def test_a_fenced_store_ends_the_worker_with_nothing_acknowledged() -> None:
    server = MemoryServer()

    async def scenario(bed: Bed) -> None:
        first = event_of([b"a"])
        await bed.accept(first)
        await bed.settled(first)
        MemoryStateStore(server).claim([0], 2)
        event = event_of([b"b"], first=1)
        await bed.accept(event)
        await bed.failed.wait()
        assert not event.acknowledged

    bed = run(scenario, server=server, patient=True)
    assert [type(error) for error in bed.failures] == [Fenced]
    assert server.markers[0] == 0


def test_a_fence_during_a_recovery_ends_the_worker_too() -> None:
    server = MemoryServer()

    async def scenario(bed: Bed) -> None:
        bed.detector.on_infer = poisoned(b"a")
        MemoryStateStore(server).claim([0], 2)
        event = event_of([b"a", b"b"])
        await bed.accept(event)
        await bed.failed.wait()
        assert not event.acknowledged

    assert [type(error) for error in run(scenario, server=server).failures] == [Fenced]


def test_a_publisher_that_breaks_ends_the_worker_with_nothing_stored() -> None:
    async def scenario(bed: Bed) -> None:
        async def broken(_: Any) -> None:
            raise RuntimeError("no longer a producer")

        bed.publisher.publish = broken  # type: ignore[assignment]
        await bed.accept(event_of([b"a"]))
        await bed.failed.wait()

    bed = run(scenario)
    assert [str(error) for error in bed.failures] == ["no longer a producer"]
    assert bed.journal == []


# -- rebuilds and rebalances ----------------------------------------------------------------------
def test_a_rebuild_is_quiet_below_the_commit_and_loud_from_it_on() -> None:
    async def scenario(bed: Bed) -> None:
        bed.delivery.positions.begin(0, 0, quiet_below=6)
        assert bed.status.reasons() == ["rebuilding 0 %"]
        first, second, third = (event_of(values(3 * i, 3), first=3 * i) for i in range(3))
        await bed.accept(first)
        await bed.settled(first)
        assert bed.status.reasons() == ["rebuilding 50 %"]
        assert bed.publisher.sent == []
        await bed.accept(second)
        await bed.settled(second)
        assert bed.status.reasons() == []
        await bed.accept(third)
        await bed.settled(third)

    bed = run(scenario)
    assert bed.publisher.values() == values(6, 3)
    assert bed.store.count_of("card") == 9


def test_a_batch_across_the_commit_is_quiet_below_it_only() -> None:
    async def scenario(bed: Bed) -> None:
        bed.delivery.positions.begin(0, 0, quiet_below=3)
        event = event_of(values(0, 8))
        await bed.accept(event)
        await bed.settled(event)
        assert not bed.status.is_rebuilding

    assert run(scenario).publisher.values() == values(3, 5)


def test_a_rebuild_that_is_told_twice_is_one_rebuild() -> None:
    async def scenario(bed: Bed) -> None:
        bed.delivery.positions.begin(0, 0, quiet_below=4)
        bed.delivery.positions.begin(0, 0, quiet_below=4)
        event = event_of(values(0, 4))
        await bed.accept(event)
        await bed.settled(event)
        assert bed.status.reasons() == []

    assert run(scenario).publisher.sent == []


def test_a_start_at_the_commit_is_no_rebuild() -> None:
    async def scenario(bed: Bed) -> None:
        bed.delivery.positions.begin(0, 40, quiet_below=40)
        assert not bed.status.is_rebuilding

    run(scenario)


def test_a_rebuild_whose_last_offsets_hold_no_record_ends_where_the_transport_stands() -> None:
    async def scenario(bed: Bed) -> None:
        bed.delivery.positions.begin(0, 4, quiet_below=6)
        assert bed.delivery.positions.reached(0) == 4
        bed.delivery.positions.reach(0, 5)
        assert bed.status.reasons() == ["rebuilding 50 %"]
        bed.delivery.positions.reach(0, 6)
        assert bed.status.reasons() == []
        bed.delivery.positions.reach(0, 6)

    run(scenario)


def test_offsets_that_go_backwards_are_another_log() -> None:
    async def scenario(bed: Bed) -> None:
        await bed.accept(event_of(values(0, 4)))
        with pytest.raises(ForeignState, match="went back to offset 2 from 4"):
            await bed.accept(event_of([b"x"], first=2))
        await bed.accept(event_of([b"x"], first=2, partition=1))
        await bed.accept(event_of([b"x"], first=9))  # a gap is not: compaction leaves some

    run(scenario)


def test_a_start_position_counts_as_seen() -> None:
    async def scenario(bed: Bed) -> None:
        bed.delivery.positions.begin(0, 10, quiet_below=0)
        with pytest.raises(ForeignState):
            await bed.accept(event_of([b"x"], first=0))

    run(scenario)


def test_a_release_flushes_forgets_the_rows_and_gives_the_partition_up() -> None:
    async def scenario(bed: Bed) -> None:
        bed.delivery.positions.begin(0, 0, quiet_below=100)
        await bed.accept(event_of(values(0, 4)), event_of(values(0, 2), partition=1))
        await bed.delivery.release({0})

        assert bed.store.server.markers[0] == 3
        assert bed.store.count_of("card") == 4
        assert bed.delivery.positions.reached(0) == 0
        assert not bed.status.is_rebuilding
        assert set(bed.detector.table._partition[bed.detector.table._partition >= 0]) == {1}
        with pytest.raises(Fenced):
            bed.store.flush(_snapshot(0))
        bed.store.flush(_snapshot(1))

    run(scenario)


def test_a_partition_that_comes_back_goes_on_where_its_state_ends() -> None:
    async def scenario(bed: Bed) -> None:
        first = event_of(values(0, 4))
        await bed.accept(first)
        await bed.delivery.release({0, 1})
        assert first.acknowledged
        bed.delivery.positions.markers.update(
            {p: m for p, m in bed.store.claim([0], 2).items() if m is not None}
        )
        bed.delivery.positions.begin(0, 4, quiet_below=4)
        second = event_of(values(4, 4), first=4)
        await bed.accept(second)
        await bed.settled(second)

    bed = run(scenario)
    assert bed.store.count_of("card") == 8
    assert bed.publisher.counts() == dict.fromkeys(values(0, 8), 1)


def _snapshot(partition: int) -> PartitionSnapshot:
    return PartitionSnapshot(partition, digests([]), np.empty((0, 18), np.uint8), 50)


# -- alerts that are held until they are stored ---------------------------------------------------
def test_what_is_held_is_stored_then_published_then_acknowledged() -> None:
    async def scenario(bed: Bed) -> None:
        bed.detector.holds = True
        event = event_of([b"a", b"b"])
        await bed.accept(event)
        await bed.settled(event)
        assert bed.store.outbox() == b"a b"

    bed = run(scenario)
    assert bed.journal == [
        ("stored", 0, 1),
        ("published", [b"a", b"b"]),
        ("acknowledged", 0, 1),
    ]
    assert bed.sample("alerts_total") == 2


def test_what_is_held_does_not_wait_for_the_next_regular_flush() -> None:
    async def scenario(bed: Bed) -> None:
        bed.detector.holds = True
        event = event_of([b"a"])
        await bed.accept(event)
        await bed.settled(event)

    run(scenario, flush_interval_s=1000.0)


def test_nothing_held_leaves_when_the_flush_is_refused() -> None:
    async def scenario(bed: Bed) -> None:
        def fenced() -> None:
            raise Fenced("another owner")

        bed.detector.holds = True
        bed.store.fault = fenced
        await bed.accept(event_of([b"a"]))
        await bed.failed.wait()

    assert run(scenario).publisher.sent == []


def test_a_crash_after_the_flush_leaves_what_was_held_in_the_store() -> None:
    server = MemoryServer()

    async def crash(bed: Bed) -> None:
        bed.detector.holds = True
        bed.publisher.gate.clear()
        await bed.accept(event_of([b"a", b"b"]))
        await bed.until(bed.store.outbox)

    bed = run(crash, server=server)
    assert bed.publisher.sent == []
    assert bed.store.outbox() == b"a b"
    assert server.markers == {0: 1}


def test_recovery_stores_what_is_held_before_it_publishes_it() -> None:
    async def scenario(bed: Bed) -> None:
        bed.detector.holds = True
        bed.detector.on_infer = poisoned(b"5")
        events = [event_of(values(4 * i, 4), first=4 * i) for i in range(3)]
        await bed.accept(*events)
        await bed.settled(*events)

    bed = run(scenario)
    assert bed.publisher.counts("dead") == {b"5": 1}
    assert set(bed.publisher.values()) == set(values(0, 12)) - {b"5"}
    stored = -1
    for step, *what in bed.journal:
        if step == "stored":
            stored = what[1]
        elif step == "published" and b"5" not in what[0]:
            assert max(map(int, what[0])) <= stored


def test_what_is_done_with_is_named_in_the_batch() -> None:
    async def scenario(bed: Bed) -> None:
        seen: list[Batch] = []
        bed.detector.on_prepare = seen.append
        bed.delivery.positions.begin(0, 0, done_below=3)
        event = event_of(values(0, 5))
        await bed.accept(event)
        await bed.settled(event)
        assert seen[0].done_below[0] == 3
        assert seen[0].part(1, 2).done_below == seen[0].done_below

    run(scenario)


# -- waiting for a fuller batch -------------------------------------------------------------------
def test_the_first_batch_goes_at_once_and_the_next_ones_wait_to_fill_up() -> None:
    async def scenario(bed: Bed) -> None:
        hold = threading.Event()
        bed.detector.on_infer = lambda _: hold.wait(10)
        events = [event_of(values(i, 1), first=i) for i in range(9)]
        await bed.accept(*events)
        await asyncio.sleep(0.05)
        assert bed.detector.sizes == [1, 8]  # the ninth record filled the second batch
        hold.set()
        await bed.settled(*events)

    run(scenario, batch_wait_s=1000.0)


def test_a_batch_that_does_not_fill_up_goes_when_its_time_is_over() -> None:
    async def scenario(bed: Bed) -> None:
        hold = threading.Event()
        bed.detector.on_infer = lambda _: hold.wait(10)
        events = [event_of(values(i, 1), first=i) for i in range(3)]
        await bed.accept(*events)
        await bed.until(lambda: bed.detector.sizes == [1, 2])
        hold.set()
        await bed.settled(*events)

    run(scenario, batch_wait_s=0.05)

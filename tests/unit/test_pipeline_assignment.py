"""Partitions that come and go: claimed, started where nothing is passed over, given back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NoReturn

import numpy as np
import pytest
from typing_extensions import override

from streams.errors import BrokerError, ForeignState
from streams.pipeline.assignment import Assignment, Resume, TopicLog
from streams.pipeline.batch import Message
from streams.pipeline.dead_letter import Buried
from streams.state.memory import MemoryServer
from tests.fakes.records import SENT_AT, FakeRecord, event_of
from tests.unit.test_pipeline_delivery import Bed, run, values


class FakeLog(TopicLog):
    """A topic whose partitions end at 100; records are where `records` says."""

    name = "frames"

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.records: Collection[int] = range(100)
        self.failures = 0
        self.asked: list[dict[int, range]] = []

    @override
    async def identity(self) -> bytes:
        return b"ours"

    @override
    async def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, self.first)

    @override
    async def ends(self) -> Mapping[int, int]:
        if self.failures:
            self.failures -= 1
            raise BrokerError("away")
        return {0: 100, 1: 100}

    @override
    async def holds_records(self, partition: int, first: int, end: int) -> bool:
        return any(offset in self.records for offset in range(first, end))

    @override
    async def buried(self, spans: Mapping[int, range]) -> Mapping[int, Buried]:
        if self.failures:
            self.failures -= 1
            raise BrokerError("away")
        self.asked.append(dict(spans))
        buried = np.array([2, 3], np.int64)
        return {one: Buried(buried, np.full(2, SENT_AT)) for one in spans}


class FakeResume(Resume):
    """Tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool]] = []

    @override
    async def messages(self, partition: int, *, lost: bool) -> Sequence[Message]:
        self.asked.append((partition, lost))
        return [Message("alerts", None, b"lost" if lost else b"pending")]


def assignment(
    bed: Bed,
    log: FakeLog,
    resume: Resume | None = None,
    recall: Callable[[], Awaitable[None]] | None = None,
) -> Assignment:
    def fail(error: BaseException) -> NoReturn:
        raise error

    return Assignment(
        topic=log,
        store=bed.store,
        delivery=bed.delivery,
        publisher=bed.publisher,
        metrics=bed.metrics,
        status=bed.status,
        resume=resume,
        recall=recall,
        fail=fail,
    )


def with_marker(marker: int | None) -> MemoryServer:
    server = MemoryServer()
    if marker is not None:
        server.markers[0] = marker
    return server


@pytest.mark.parametrize(
    ("marker", "commit", "start", "is_rebuilding"),
    [
        (None, None, 0, False),
        (None, 50, 0, True),
        (30, 50, 31, True),
        (49, 50, 50, False),
        (70, 50, 50, False),
        (70, None, 71, False),
    ],
)
def test_a_partition_starts_where_neither_commit_nor_state_is_passed_over(
    marker: int | None, commit: int | None, start: int, is_rebuilding: bool
) -> None:
    async def scenario(bed: Bed) -> None:
        partitions = assignment(bed, FakeLog())
        await partitions.assigned([0], 2)
        assert await partitions.starts({0: commit}) == {0: start}
        assert bed.status.is_rebuilding == is_rebuilding

    run(scenario, server=with_marker(marker))


@pytest.mark.parametrize(
    ("marker", "commit", "is_lost"),
    [
        (None, None, False),
        (None, 0, False),  # it was begun, and nothing ever came
        (None, 50, True),
        (30, 50, True),
        (49, 50, False),
        (70, 50, False),
        (70, None, False),
    ],
)
def test_with_an_outbox_it_starts_at_the_commit_and_knows_when_its_state_is_lost(
    marker: int | None, commit: int | None, is_lost: bool
) -> None:
    resume = FakeResume()

    async def scenario(bed: Bed) -> None:
        partitions = assignment(bed, FakeLog(), resume)
        await partitions.assigned([0], 2)
        assert await partitions.starts({0: commit}) == {0: commit or 0}
        assert resume.asked == [(0, is_lost)]
        assert bed.publisher.values() == [b"lost" if is_lost else b"pending"]
        done = 0 if is_lost or marker is None else marker + 1
        assert bed.delivery.positions.done_below == {0: done, 1: 0}

    run(scenario, server=with_marker(marker))


@pytest.mark.parametrize(
    ("marker", "commit"), [(None, None), (None, 50), (30, 50), (49, 50), (70, 50)]
)
def test_what_is_forgotten_is_recalled_once_before_anything_is_read(
    marker: int | None, commit: int | None
) -> None:
    async def scenario(bed: Bed) -> None:
        asked: list[str] = []

        async def recall() -> None:
            asked.append("what is forgotten")
            if len(asked) == 1:
                raise BrokerError("away")

        partitions = assignment(bed, FakeLog(), recall=recall)
        await partitions.assigned([0], 2)
        for _ in range(2):
            await partitions.starts({0: commit})
            assert len(asked) == 2

    run(scenario, server=with_marker(marker))


@pytest.mark.parametrize(
    ("marker", "commit", "spans"),
    [
        (None, 4, {0: range(4)}),
        (1, 4, {0: range(2, 4)}),
        (3, 4, None),
        (9, 4, None),
        (None, None, None),
        (None, 0, None),
    ],
)
def test_a_rebuild_passes_over_what_was_buried_and_a_start_without_one_does_not_ask(
    marker: int | None, commit: int | None, spans: dict[int, range] | None
) -> None:
    async def scenario(bed: Bed) -> None:
        log = FakeLog()
        log.failures = 2
        partitions = assignment(bed, log)
        await partitions.assigned([0], 2)
        first = (await partitions.starts({0: commit}))[0]
        assert log.asked == ([] if spans is None else [spans])
        # 0 and 1 are applied; 2 and 3 are buried, and made anew where they are not below the commit
        events = [
            event_of(values(first, 3), first=first),
            event_of(values(first + 3, 4), first=first + 3),
        ]
        await bed.accept(*events)
        await bed.settled(*events)
        assert bed.delivery._unflushed == 0
        passed_over = len({2, 3} & set(range(first, commit or 0)))
        assert bed.store.count_of("card") == 7 - passed_over
        assert bed.delivery.positions.reached(0) == max(first + 7, (marker or 0) + 1)

    run(scenario, server=with_marker(marker))


def test_a_record_at_the_place_of_one_that_was_buried_in_another_topic_is_not_passed_over() -> None:
    buried = Buried(np.array([7, 3, 3, 5]), np.array([SENT_AT, 1, 2, SENT_AT]))
    records = [FakeRecord(offset, b"") for offset in range(8)]
    assert buried.without([]) == []
    assert [one.offset for one in buried.without(records)] == [0, 1, 2, 3, 4, 6]
    assert buried.without(records[:3]) == records[:3]
    twice = FakeRecord(3, b"", timestamp=2)
    assert buried.without([twice]) == []
    none = Buried(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert none.without(records) == records


def test_over_transaction_markers_alone_nobody_asks_what_was_buried() -> None:
    async def scenario(bed: Bed) -> None:
        log = FakeLog()
        log.records = range(5)
        partitions = assignment(bed, log)
        await partitions.assigned([0], 2)
        assert await partitions.starts({0: 7}) == {0: 5}
        assert log.asked == []

    run(scenario, server=with_marker(4))


def test_with_an_outbox_nobody_asks_what_was_buried() -> None:
    async def scenario(bed: Bed) -> None:
        log = FakeLog()
        partitions = assignment(bed, log, FakeResume())
        await partitions.assigned([0], 2)
        await partitions.starts({0: 50})
        assert log.asked == []

    run(scenario)


@pytest.mark.parametrize("has_outbox", [False, True])
@pytest.mark.parametrize(
    ("marker", "commit", "gone"),
    [
        (39, 40, (40, 59)),
        (70, 50, None),  # stored ahead of the commit; retained from 60 on
        (79, 80, None),
        (None, None, None),  # nobody was here before
    ],
)
def test_what_retention_deleted_before_it_was_read_is_told_with_its_range_and_counted(
    marker: int | None,
    commit: int | None,
    gone: tuple[int, int] | None,
    has_outbox: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    caplog.set_level("ERROR")

    async def scenario(bed: Bed) -> None:
        partitions = assignment(bed, FakeLog(first=60), FakeResume() if has_outbox else None)
        await partitions.assigned([0], 2)
        assert await partitions.starts({0: commit}) == {0: max(commit or 0, 60)}
        assert bed.sample("gone_records_total") == (gone[1] - gone[0] + 1 if gone else 0)

    run(scenario, server=with_marker(marker))
    told = [line for line in caplog.messages if "are gone" in line]
    assert len(told) == bool(gone)
    if gone:
        assert f"offsets {gone[0]} to {gone[1]} are gone" in told[0]


@pytest.mark.parametrize(
    ("marker", "commit", "lacking"),
    [(None, 80, (0, 59)), (39, 80, (40, 59)), (59, 80, None), (79, 80, None), (None, None, None)],
)
def test_what_lost_state_can_no_longer_be_rebuilt_from_is_told_with_its_range_and_counted(
    marker: int | None,
    commit: int | None,
    lacking: tuple[int, int] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    caplog.set_level("ERROR")

    async def scenario(bed: Bed) -> None:
        partitions = assignment(bed, FakeLog(first=60))
        await partitions.assigned([0], 2)
        await partitions.starts({0: commit})
        due = lacking[1] - lacking[0] + 1 if lacking else 0
        assert bed.sample("unrebuilt_records_total") == due

    run(scenario, server=with_marker(marker))
    told = [line for line in caplog.messages if "the state that is rebuilt lacks them" in line]
    assert len(told) == bool(lacking)
    if lacking:
        assert f"offsets {lacking[0]} to {lacking[1]} are" in told[0]


def test_a_commit_behind_transaction_markers_loses_no_state() -> None:
    server, resume = with_marker(47), FakeResume()

    async def scenario(bed: Bed) -> None:
        log = FakeLog()
        log.records = range(48)  # at 48 and 49 lie markers
        partitions = assignment(bed, log, resume)
        await partitions.assigned([0], 2)
        assert await partitions.starts({0: 50}) == {0: 50}

    run(scenario, server=server)
    assert resume.asked == [(0, False)]
    assert server.markers == {0: 47}


def test_a_start_is_not_told_before_the_partition_is_claimed() -> None:
    async def scenario(bed: Bed) -> None:
        partitions = assignment(bed, FakeLog())
        await partitions.assigned([], 1)
        assert await partitions.starts({0: 5}) == {}
        await partitions.assigned([0], 2)
        await partitions.revoked({0})
        await partitions.assigned([1], 3)
        assert await partitions.starts({0: 5, 1: 5}) == {1: 0}

    run(scenario)


def test_a_broker_that_is_away_is_waited_for() -> None:
    async def scenario(bed: Bed) -> None:
        log = FakeLog()
        log.failures = 2
        partitions = assignment(bed, log)
        await partitions.assigned([0], 2)
        assert await partitions.starts({0: None}) == {0: 0}

    run(scenario)


def test_a_state_beyond_the_end_of_the_log_belongs_to_another_topic() -> None:
    async def scenario(bed: Bed) -> None:
        partitions = assignment(bed, FakeLog())
        await partitions.assigned([0], 2)
        with pytest.raises(ForeignState, match="covers offset 100"):
            await partitions.starts({0: 5})

    run(scenario, server=with_marker(100))

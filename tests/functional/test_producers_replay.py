"""Replaying in lockstep: labels first, then transactions, and nothing before both have settled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import numpy as np
import pytest

from models.fraud.transactions import Transactions
from streams.errors import Stuck
from streams.producers.play import Sent
from streams.producers.records import Labelling
from streams.producers.replay import GroupWait, between, play_in_lockstep
from streams.producers.sink import MemorySink, Record
from streams.schemas import decode_label, decode_transaction
from streams.settings import Settings
from streams.tracing import TraceHeaders

DAY = 86_400_000
SETTINGS = Settings.model_construct()


def rows(times: Iterable[int]) -> Transactions:
    when = np.array(list(times), np.int64)
    number = np.arange(len(when))
    zeros = np.zeros(len(when))
    return Transactions(
        number, number, number, zeros, when, zeros.astype(np.bool_), zeros.astype(np.int8)
    )


class LoggingSink(MemorySink):
    """Writes into a log what was sent, flushed and waited for, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    async def send_many(
        self, topic: str, records: Iterable[Record], headers: Iterable[TraceHeaders] | None = None
    ) -> int:
        kept = list(records)
        decode = decode_label if topic == "labels" else decode_transaction
        ids = ",".join(decode(value).tx_id for _, value in kept)  # type: ignore[operator]
        self.log.append(f"{topic} {ids}")
        return await super().send_many(topic, kept, headers)

    async def flush(self) -> None:
        self.log.append("flush")

    async def wait(self, group: str, topic: str) -> None:
        self.log.append(f"wait {group} {topic}")


def lockstep(times: Iterable[int], labelling: Labelling | None) -> tuple[list[str], Sent]:
    sink = LoggingSink()
    sent = asyncio.run(
        play_in_lockstep(
            sink,
            SETTINGS,
            rows(times),
            step_ms=DAY,
            labelling=labelling,
            wait=sink.wait,
            progress=lambda _: None,
        )
    )
    return sink.log, sent


def test_nothing_to_replay_sends_and_waits_for_nothing() -> None:
    assert lockstep([], Labelling(DAY, "case system")) == ([], Sent(0, 0))


def test_each_day_sends_its_labels_then_its_transactions_and_waits_after_both() -> None:
    noon = DAY // 2

    log, sent = lockstep([noon, DAY + noon, 2 * DAY + noon], Labelling(DAY, "case system"))

    scored = ["flush", "wait tocsin-fraud transactions"]
    applied = ["flush", "wait tocsin-labels labels"]
    assert log == [
        *["transactions 0", *scored],
        *["labels 0", *applied, "transactions 1", *scored],
        *["labels 1", *applied, "transactions 2", *scored],
    ]
    assert sent == Sent(3, 2)


def test_a_label_known_at_midnight_belongs_to_the_day_that_begins() -> None:
    log, _ = lockstep([0, DAY - 1, DAY], Labelling(DAY, "case system"))

    assert [line for line in log if line.startswith(("labels", "transactions"))] == [
        "transactions 0,1",
        "labels 0,1",
        "transactions 2",
    ]


def test_a_day_without_transactions_still_brings_its_labels() -> None:
    log, _ = lockstep([0, 3 * DAY], Labelling(DAY, "case system"))

    assert [line for line in log if line.startswith(("labels", "transactions"))] == [
        "transactions 0",
        "labels 0",
        "transactions 1",
    ]


def test_without_labelling_the_labels_group_is_not_waited_for() -> None:
    log, _ = lockstep([0, DAY], None)

    assert not any("labels" in line for line in log)


@pytest.mark.parametrize(
    ("first", "last", "limit", "kept"),
    [
        (None, None, None, [0, 1, 2, 3]),
        (1, 3, None, [1, 2]),
        (None, None, 0, []),
        (2, None, 1, [2]),
        (9, None, None, []),
        (3, 1, None, []),
    ],
)
def test_the_range_includes_its_first_and_leaves_out_its_last(
    first: int | None, last: int | None, limit: int | None, kept: list[int]
) -> None:
    assert between(rows([0, 1, 2, 3]), first, last, limit).event_time.tolist() == kept


def test_waiting_ends_when_the_group_has_committed_what_was_sent() -> None:
    commits = iter([{}, {0: 1}, {0: 3, 1: 4}, {0: 9, 1: 5}])
    asked = []

    def committed(group: str, topic: str) -> dict[int, int]:
        asked.append((group, topic))
        return next(commits)

    asyncio.run(GroupWait(committed, lambda topic: {0: 3, 1: 5}, stall_s=30)("g", "t"))

    assert asked == [("g", "t")] * 4


def test_nothing_sent_is_waited_for_without_a_worker() -> None:
    asyncio.run(GroupWait(lambda group, topic: {}, lambda topic: {}, stall_s=1)("g", "t"))


def test_a_group_that_stands_still_is_given_up_by_name() -> None:
    wait = GroupWait(lambda group, topic: {0: 1}, lambda topic: {0: 6}, stall_s=0.1)

    with pytest.raises(Stuck, match="group g has stood 5 records behind on t"):
        asyncio.run(wait("g", "t"))

"""The commit rule: the longest prefix of batches that are done, in the order of the partition."""

from __future__ import annotations

import pytest
from faust.types import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import TransportError
from streams.transport.offsets import BatchLedger, BatchOffset

PARTITION = TP("transactions", 0)
OTHER = TP("transactions", 1)


def entered(
    ledger: BatchLedger,
    first: int,
    last: int,
    *,
    next_offset: int | None = None,
    tp: TP = PARTITION,
) -> BatchOffset:
    offset = BatchOffset(
        last,
        first=first,
        next_offset=last + 1 if next_offset is None else next_offset,
        move=ledger.moves(tp),
    )
    ledger.enter(tp, offset)
    return offset


def test_an_empty_ledger_commits_nothing() -> None:
    ledger = BatchLedger()
    assert ledger.commit_offset(PARTITION) is None
    assert ledger.moves(PARTITION) == 0


def test_a_commit_goes_to_the_end_of_the_acknowledged_prefix() -> None:
    ledger = BatchLedger()
    batches = [entered(ledger, 0, 9), entered(ledger, 10, 19), entered(ledger, 20, 29)]
    batches[0].done = batches[1].done = True
    assert ledger.commit_offset(PARTITION) == 20
    assert ledger.commit_offset(PARTITION) is None
    batches[2].done = True
    assert ledger.commit_offset(PARTITION) == 30


def test_an_open_batch_holds_back_every_later_one() -> None:
    ledger = BatchLedger()
    batches = [entered(ledger, 0, 9), entered(ledger, 10, 19), entered(ledger, 20, 29)]
    batches[1].done = batches[2].done = True
    assert ledger.commit_offset(PARTITION) is None
    batches[0].done = True
    assert ledger.commit_offset(PARTITION) == 30


def test_offsets_that_compaction_removed_are_no_hole() -> None:
    ledger = BatchLedger()
    for first, last, following in ((3, 17, 40), (44, 90, 91)):
        entered(ledger, first, last, next_offset=following).done = True
    assert ledger.commit_offset(PARTITION) == 91


def test_a_transaction_marker_at_the_end_is_committed_too() -> None:
    ledger = BatchLedger()
    entered(ledger, 0, 9).done = True
    ledger.enter_empty(PARTITION, 11, ledger.moves(PARTITION))
    assert ledger.commit_offset(PARTITION) == 11


def test_partitions_do_not_hold_each_other_back() -> None:
    ledger = BatchLedger()
    entered(ledger, 0, 9)
    entered(ledger, 0, 4, tp=OTHER).done = True
    assert ledger.commit_offset(PARTITION) is None
    assert ledger.commit_offset(OTHER) == 5


def test_a_seek_makes_what_was_fetched_before_it_worthless() -> None:
    ledger = BatchLedger()
    stale = [entered(ledger, 0, 9), entered(ledger, 10, 19)]
    ledger.moved(PARTITION)
    again = entered(ledger, 0, 9)
    stale[1].done = True
    assert ledger.is_stale(PARTITION, stale[0].move)
    assert not ledger.is_stale(PARTITION, again.move)
    assert ledger.commit_offset(PARTITION) is None
    again.done = True
    assert ledger.commit_offset(PARTITION) == 10


def test_a_batch_that_never_came_is_missed_at_the_next_one() -> None:
    ledger = BatchLedger()
    batches = [entered(ledger, 0, 9), entered(ledger, 12, 19), entered(ledger, 20, 29)]
    other = entered(ledger, 0, 4, tp=OTHER)
    ledger.take(PARTITION, batches[0])
    ledger.take(OTHER, other)
    with pytest.raises(TransportError, match="up to offset 19 were fetched and never reached"):
        ledger.take(PARTITION, batches[2])
    # Also where it was the first of all.
    ledger.moved(PARTITION)
    entered(ledger, 0, 9)
    with pytest.raises(TransportError, match="up to offset 9"):
        ledger.take(PARTITION, entered(ledger, 10, 19))
    # After a seek, and in a partition that comes again, everything begins anew.
    ledger.moved(PARTITION)
    ledger.enter_empty(PARTITION, 12, ledger.moves(PARTITION))
    for first, last in ((12, 19), (20, 29)):
        ledger.take(PARTITION, entered(ledger, first, last))
    ledger.drop(PARTITION)
    ledger.take(PARTITION, entered(ledger, 40, 49))


def test_two_deliveries_of_one_batch_are_two_batches() -> None:
    ledger = BatchLedger()
    first, second = entered(ledger, 0, 9), entered(ledger, 0, 9)
    assert first != second
    assert [first, first].count(second) == 0
    assert len({first, second}) == 2
    assert int(first) == int(second) == 9


def test_no_batch_is_too_old_for_faust() -> None:
    assert BatchOffset(9, first=0, next_offset=10, move=0) >= 1_000


def test_a_revoked_partition_is_forgotten() -> None:
    ledger = BatchLedger()
    entered(ledger, 0, 9).done = True
    ledger.drop(PARTITION)
    assert ledger.commit_offset(PARTITION) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fetch"), st.integers(1, 5), st.integers(0, 3)),
        st.tuples(st.just("ack"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("seek"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("commit"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_a_commit_never_passes_a_record_that_was_not_acknowledged_since_the_last_seek(
    steps: list[tuple[str, int, int]],
) -> None:
    ledger, delivered = BatchLedger(), list[BatchOffset]()
    position = reached = 0
    covered = set[int]()  # offsets acknowledged, or known to hold no record, since the last seek
    fetched_from = 0
    for step, a, b in steps:
        if step == "fetch":
            last = position + a - 1
            delivered.append(entered(ledger, position, last, next_offset=last + 1 + b))
            position = last + 1 + b
        elif step == "ack" and delivered:
            batch = delivered[a % len(delivered)]
            batch.done = True
            if not ledger.is_stale(PARTITION, batch.move):
                covered.update(range(batch.first, batch.next_offset))
        elif step == "seek":
            ledger.moved(PARTITION)
            position = fetched_from = a
            covered, reached = set(), a
        elif step == "commit" and (end := ledger.commit_offset(PARTITION)) is not None:
            assert end > reached
            assert covered.issuperset(range(fetched_from, end))
            reached = end
    for batch in delivered:
        batch.done = True
    assert ledger.commit_offset(PARTITION) in {None, position}


def test_what_is_done_reaches_past_what_no_record_is_delivered_of() -> None:
    ledger = BatchLedger()
    assert ledger.done_to(PARTITION) == 0
    entered(ledger, 0, 9).done = True
    ledger.enter_empty(PARTITION, 12, ledger.moves(PARTITION))  # transaction markers
    ledger.commit_offset(PARTITION)
    assert ledger.done_to(PARTITION) == 12
    assert ledger.done_to(OTHER) == 0


def test_a_seek_and_a_revocation_forget_what_was_done() -> None:
    ledger = BatchLedger()
    for forget in (ledger.moved, ledger.drop):
        entered(ledger, 0, 9).done = True
        ledger.commit_offset(PARTITION)
        assert ledger.done_to(PARTITION) == 10
        forget(PARTITION)
        assert ledger.done_to(PARTITION) == 0

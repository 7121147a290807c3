"""What has been fetched, what of it is done, and how far a commit may therefore go."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Self

from faust.types import TP

from streams.errors import TransportError


class BatchOffset(int):
    """Offset of the last record of one batch; the number Faust moves around as message offset.

    Faust keeps acknowledged offsets in lists and sets. A batch that is delivered twice has the
    same offset twice, so equality is identity: the object, not the number, is the batch.

    Faust also asks ``offset >= n`` in two places: is an acknowledgement newer than the commit, is a
    message newer than the last one read. Both are always true here, because the ledger and the
    fetch position decide: a rebuild reads and acknowledges below the commit.
    """

    first: int
    """Offset of the first record."""

    next_offset: int
    """Where reading goes on: past the last record and past what follows it unseen (transaction
    markers, records that compaction removed)."""

    move: int
    """How often the partition had been moved by a seek when the batch was fetched."""

    done: bool

    previous: int | None
    """Last offset of the batch that was fetched before this one, since the latest seek."""

    def __new__(cls, last: int, *, first: int, next_offset: int, move: int) -> Self:
        """Build the offset of a batch that ends with the record at `last`."""
        offset = super().__new__(cls, last)
        offset.first = first
        offset.next_offset = next_offset
        offset.move = move
        offset.done = False
        offset.previous = None
        return offset

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __ge__(self, other: int) -> bool:
        return True


class BatchLedger:
    """Batches by partition in the order in which they were fetched.

    A batch is entered before anything is delivered, so whatever Faust drops on the way to an agent
    stays in the ledger unacknowledged, and no commit runs past it.

    `moved` is called in the consumer thread in the same step as the seek, or while that thread
    waits for a revocation; everything else in the main thread. A batch that was fetched before the
    latest move of its partition is stale: it is fetched again from the new position, so its
    acknowledgement counts for nothing.
    """

    def __init__(self) -> None:
        self._moves: dict[TP, int] = {}
        self._done_to: dict[TP, int] = {}
        self._fetched: defaultdict[TP, deque[BatchOffset]] = defaultdict(deque)
        self._entered: dict[TP, tuple[int, int]] = {}  # move and last offset
        self._taken: dict[TP, tuple[int, int]] = {}

    def moved(self, tp: TP) -> None:
        """Make everything that was fetched from `tp` so far stale."""
        self._moves[tp] = self.moves(tp) + 1
        self._done_to.pop(tp, None)

    def moves(self, tp: TP) -> int:
        """Count the seeks of `tp`; a fetch is stamped with it."""
        return self._moves.get(tp, 0)

    def is_stale(self, tp: TP, move: int) -> bool:
        """Tell whether a seek came after what was stamped `move`."""
        return move != self.moves(tp)

    def enter(self, tp: TP, offset: BatchOffset) -> None:
        """Add a batch behind those that were fetched before it."""
        move, last = self._entered.get(tp, (None, None))
        offset.previous = last if move == offset.move else None
        self._entered[tp] = offset.move, int(offset)
        self._fetched[tp].append(offset)

    def take(self, tp: TP, offset: BatchOffset) -> None:
        """Note that an agent has got a batch, which is not stale.

        Raises:
            TransportError: the one before it never came. What is stored may not run past that.
        """
        if offset.previous is not None and self._taken.get(tp) != (offset.move, offset.previous):
            raise TransportError(
                f"partition {tp.partition} of {tp.topic!r}: records up to offset {offset.previous} "
                "were fetched and never reached the agent: it starts over from what is stored"
            )
        self._taken[tp] = offset.move, int(offset)

    def enter_empty(self, tp: TP, next_offset: int, move: int) -> None:
        """Add a fetch without records (transaction markers only): done as it is."""
        offset = BatchOffset(next_offset - 1, first=next_offset, next_offset=next_offset, move=move)
        offset.done = True
        self._fetched[tp].append(offset)

    def partitions(self) -> set[TP]:
        """Return the partitions that may have something to commit."""
        return set(self._fetched)

    def commit_offset(self, tp: TP) -> int | None:
        """Return the end of the longest prefix of batches that are done, and forget that prefix.

        Stale batches in front are forgotten as well. None if the first batch is still open.
        """
        fetched, end = self._fetched[tp], None
        while fetched and (fetched[0].done or self.is_stale(tp, fetched[0].move)):
            offset = fetched.popleft()
            if not self.is_stale(tp, offset.move):
                end = self._done_to[tp] = offset.next_offset
        return end

    def done_to(self, tp: TP) -> int:
        """Return the last `commit_offset` since the latest move, 0 for none."""
        return self._done_to.get(tp, 0)

    def drop(self, tp: TP) -> None:
        """Forget a partition that was revoked."""
        for known in (self._fetched, self._done_to, self._entered, self._taken):
            known.pop(tp, None)

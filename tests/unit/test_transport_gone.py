"""What the broker deleted before it was fetched is told, and nothing else is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.transport.fetch import FetchedRecords
from streams.transport.thread import ConsumerThread


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ((1, 50), (1, 50), None),
        ((1, 50), (1, 70), (50, 70)),  # nobody has moved it
        ((1, 50), (2, 70), None),  # it was elsewhere meanwhile
        (None, (1, 70), None),
    ],
)
def test_offsets_are_gone_where_a_position_moved_that_nobody_has_moved(
    before: tuple[int, int] | None, now: tuple[int, int], told: tuple[int, int] | None
) -> None:
    gone: list[tuple[TP, int, int]] = []
    thread = object.__new__(ConsumerThread)
    thread.app = SimpleNamespace(on_gone=lambda *what: gone.append(what))
    tp = TP("transactions", 0)
    thread._expected = {} if before is None else {tp: before}
    move, start = now
    thread._follow(tp, FetchedRecords([], start=start, next_offset=start + 5, move=move))
    assert gone == ([] if told is None else [(tp, *told)])
    assert thread._expected == {tp: (move, start + 5)}

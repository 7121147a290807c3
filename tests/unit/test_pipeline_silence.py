"""Up to which time a partition is read, and who has kept quiet since."""

from __future__ import annotations

from streams.pipeline.silence import Hearing, ReadTo


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_partition_that_is_read_to_its_end_is_read_to_now() -> None:
    clock = Clock()
    read_to = ReadTo(clock)
    assert read_to.times([0]) == {}
    read_to.note(0, 10, 10)
    assert read_to.times([0, 1]) == {0: 100.0}
    clock.now = 105.0
    read_to.note(0, 10, 10)
    assert read_to.times([0]) == {0: 105.0}
    assert read_to.times([]) == {}


def test_behind_a_moving_end_it_is_read_to_when_the_end_was_where_it_has_come() -> None:
    clock = Clock()
    read_to = ReadTo(clock)
    read_to.note(0, 0, 10)
    assert read_to.times([0]) == {}
    for reached, end, now in ((8, 20, 101.0), (12, 30, 102.0), (25, 40, 103.0), (31, 50, 104.0)):
        clock.now = now
        read_to.note(0, reached, end)
    assert read_to.times([0]) == {0: 102.0}  # the end was at 30 then


def test_a_backlog_stops_its_time() -> None:
    clock = Clock()
    read_to = ReadTo(clock)
    read_to.note(0, 5, 5)
    for _ in range(60):
        clock.now += 1.0
        read_to.note(0, 5, 1000)
    assert read_to.times([0]) == {0: 100.0}


def test_nobody_is_silent_among_nobody() -> None:
    assert Hearing(30.0, Clock()).silent({0: 1e9}) == {}


def test_who_was_heard_of_last_is_silent_last() -> None:
    clock = Clock()
    hearing = Hearing(30.0, clock)
    hearing.heard((0, "gate"))
    clock.now += 10
    hearing.heard((1, "door"))
    hearing.expect([(0, "gate"), (0, "yard")])
    assert hearing.silent({0: 130.0, 1: 130.0}) == {(0, "gate"): 100.0}
    assert hearing.silent({0: 140.0}) == {(0, "gate"): 100.0, (0, "yard"): 110.0}
    hearing.forget((0, "gate"))
    hearing.leave(frozenset({1}))
    assert hearing.silent({0: 1e9, 1: 1e9}) == {(0, "yard"): 110.0}

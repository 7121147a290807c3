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
    hearing = Hearing(30.0, clock, wall=lambda: 1.0)
    hearing.heard((0, "gate"))
    clock.now += 10
    hearing.heard((1, "door"))
    hearing.expect({(0, "gate"): 0, (0, "yard"): 1_000})
    assert hearing.silent({0: 130.0, 1: 130.0}) == {(0, "gate"): 100.0}
    assert hearing.silent({0: 140.0}) == {(0, "gate"): 100.0, (0, "yard"): 110.0}
    hearing.forget((0, "gate"))
    hearing.leave(frozenset({1}))
    assert hearing.silent({0: 1e9, 1: 1e9}) == {(0, "yard"): 110.0}


def test_a_silence_goes_on_from_one_worker_to_the_next() -> None:
    clock, wall = Clock(), Clock()
    wall.now = 5_000.0
    first = Hearing(30.0, clock, wall)
    first.heard((0, "gate"))
    clock.now, wall.now = clock.now + 4, wall.now + 4
    told = {(0, "gate"): first.seen_ms((0, "gate"))}
    assert told == {(0, "gate"): 5_000_000}

    other = Clock()  # of another process: it began anew
    other.now = 7.0
    second = Hearing(30.0, other, wall)
    second.expect(told)
    assert second.silent({0: 32.9}) == {}
    assert second.silent({0: 33.0}) == {(0, "gate"): 3.0}
    assert second.seen_ms((0, "gate")) == 5_000_000

    wall.now -= 3_600  # a clock that runs an hour behind: nobody was seen after now
    third = Hearing(30.0, other, wall)
    third.expect(told)
    assert third.silent({0: 36.9}) == {}
    assert third.silent({0: 37.0}) == {(0, "gate"): 7.0}

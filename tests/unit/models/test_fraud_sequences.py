import numpy as np

from models.fraud.sequences import plan_sequences


def plan(*rows: int):  # type: ignore[no-untyped-def]
    return plan_sequences(np.array(rows, np.int64))


def test_an_empty_batch_has_no_waves() -> None:
    empty = plan()
    assert len(empty) == 0
    for name in empty.__slots__:
        assert getattr(empty, name).shape == (0,), name
        assert getattr(empty, name).dtype == np.int64, name


def test_one_event_is_one_wave() -> None:
    one = plan(7)
    assert (one.packed.tolist(), one.rows.tolist(), one.sizes.tolist()) == ([0], [7], [1])


def test_waves_hold_the_first_events_of_all_rows_then_the_second_of_those_that_have_one() -> None:
    p = plan(5, 9, 5, 2, 9, 5)
    assert p.rows.tolist() == [5, 9, 2]
    assert p.sizes.tolist() == [3, 2, 1]
    assert p.packed.tolist() == [0, 1, 3, 2, 4, 5]
    assert p.lane.tolist() == [0, 1, 2, 0, 1, 0]
    assert p.wave.tolist() == [0, 0, 0, 1, 1, 2]
    assert p.last.tolist() == [5, 4, 2]
    assert p.distinct.tolist() == [2, 5, 9]
    assert p.order.tolist() == [3, 0, 2, 5, 1, 4]


def test_rows_too_large_to_tag_are_sorted_all_the_same() -> None:
    big = np.iinfo(np.int64).max
    p = plan(big, 1, big, -big)
    assert p.rows.tolist() == [big, -big, 1]
    assert p.packed.tolist() == [0, 3, 1, 2]

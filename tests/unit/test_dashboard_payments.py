"""Which of a card's payments are shown around one of them."""

from __future__ import annotations

import pytest

from streams.dashboard.payments import Payment, near


def payments(count: int) -> list[Payment]:
    """As many, at offsets 0, 10, 20..."""
    return [Payment(10 * i, f"tx-{i}", i, 1.0, "EUR", "shop") for i in range(count)]


def test_of_none_none_is_chosen() -> None:
    assert near([], 7, 12) == []


@pytest.mark.parametrize(
    ("count", "this", "first", "last"),
    [
        (5, 3, 0, 4),  # all of them
        (100, 99, 88, 99),  # the newest of all: those before it
        (100, 50, 42, 53),  # a hot card: the one itself, and some after it
        (100, 98, 88, 99),
        (100, 2, 0, 11),  # few before it
        (100, 0, 0, 11),
    ],
)
def test_the_one_that_is_asked_about_is_always_among_those_around_it(
    count: int, this: int, first: int, last: int
) -> None:
    chosen = near(payments(count), 10 * this, 12)
    assert [one.offset // 10 for one in chosen] == list(range(first, last + 1))
    assert 10 * this in {one.offset for one in chosen}


def test_around_one_that_is_not_there_the_nearest_are_chosen() -> None:
    assert [one.offset for one in near(payments(100), 505, 4)] == [480, 490, 500, 510]
    assert [one.offset for one in near(payments(9), -1, 4)] == [0, 10, 20, 30]

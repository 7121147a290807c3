"""What one chooses of the list stands in its address, and a card's id in no URL."""

from __future__ import annotations

from itertools import product
from urllib.parse import parse_qsl, urlsplit

import pytest

from streams.dashboard.pages.choice import Choice, choice_of
from streams.dashboard.view.query import Filters


def read(address: str) -> Choice:
    parts = urlsplit(address)
    return choice_of(dict(parse_qsl(parts.query)), parts.fragment)


def test_a_list_as_it_begins_has_the_plain_address() -> None:
    assert Choice().address() == "/"
    assert read("/") == Choice()
    assert Choice().filters(7) == Filters(decision="undecided")


def test_every_choice_is_read_back_from_its_address() -> None:
    parts = product(
        ("", "fraud"), ("", "undecided", "confirmed"), ("", "high"), (0, 15), (False, True)
    )
    for kind, decision, severity, minutes, is_so in parts:
        for entity in ("", "yard", "a/#?&=%20 <b>\u00e9"):
            made = Choice(kind, decision, severity, minutes, entity, is_so, not is_so)
            assert read(made.address()) == made


def test_an_entity_stands_where_no_server_sees_it() -> None:
    parts = urlsplit(Choice(entity="card-1", kind="fraud").address())
    assert (parts.query, parts.fragment) == ("kind=fraud", "entity=card-1")


@pytest.mark.parametrize(
    "address",
    [
        "/?kind=x&decision=maybe&severity=worst&minutes=16&open=2&suppressed=yes",
        "/?minutes=-15",
        "/?minutes=",
        "/?entity=card-1",
        "/#entity",
        "/#//evil",
        "/#entity=%20",
    ],
)
def test_what_no_list_wrote_is_left_out(address: str) -> None:
    assert read(address) == Choice()


def test_a_span_goes_on_with_the_clock() -> None:
    chosen = Choice(decision="", minutes=15, going_on=True, entity="yard")
    assert chosen.filters(1_000_000) == Filters(open=True, entity="yard", since=100_000)

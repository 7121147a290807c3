"""What a rule may be called, what a new one is called at first, and which cameras are known."""

from __future__ import annotations

import pytest

from models.vision.rules_file import Count
from streams.dashboard.pages.rule_form import KINDS, checked_name, suggested_name
from streams.dashboard.pages.rules import is_named, others_told


@pytest.mark.parametrize("text", ["", " ", "two words", "größe", "x" * 65, "a/b", "a\nb"])
def test_a_name_that_the_file_does_not_take_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="A name is 1 to 64 letters"):
        checked_name(text)


def test_a_name_is_taken_without_what_surrounds_it() -> None:
    assert checked_name(" zone-1_entered.2 ") == "zone-1_entered.2"


@pytest.mark.parametrize("place", ["zone-1", "Tür 4 / Hof", "x" * 200])
@pytest.mark.parametrize("kind", KINDS)
def test_the_name_of_a_new_rule_is_one_that_is_taken(place: str, kind: str) -> None:
    first = suggested_name(place, kind, ())
    second = suggested_name(place, kind, {first})
    assert checked_name(first) == first
    assert checked_name(second) == f"{first}-2"


def test_a_new_rule_is_named_after_its_place_and_kind() -> None:
    assert suggested_name("zone-1", "enter", ()) == "zone-1-entered"


def test_a_rule_about_all_cameras_names_none() -> None:
    everywhere = Count(name="a", limit=1, classes=("person",))
    assert not is_named("yard", ())
    assert not is_named("yard", [everywhere])
    assert is_named(
        "yard", [everywhere, Count(name="b", limit=1, classes=("person",), cameras=("ya*",))]
    )


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        (("gate",), ""),
        (("*",), "for all cameras"),
        (("gate", "*"), "for all cameras"),
        (("gate", "yard", "hall-?"), "also for cameras yard, hall-?"),
        (("g*",), "also for cameras g*"),
    ],
)
def test_for_which_other_cameras_a_rule_is_is_said_in_words(
    patterns: tuple[str, ...], told: str
) -> None:
    assert others_told(patterns, "gate") == told

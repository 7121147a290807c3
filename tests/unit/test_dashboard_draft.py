"""Zones and lines as they are drawn, moved, named and taken back."""

from __future__ import annotations

import pytest

from models.vision.rules_file import Cross, Enter
from streams.dashboard.pages.draft import Draft
from streams.dashboard.pages.overlay import overlay
from streams.dashboard.rules.part import CameraRules

SQUARE = ((0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6))
INSIDE = Enter(name="in", classes=("person",), zone="yard")
OVER = Cross(name="over", classes=("person",), line="gate")


@pytest.fixture
def draft() -> Draft:
    lines = {"gate": ((0.9, 0.1), (0.9, 0.9))}
    return Draft(CameraRules(rules=(INSIDE, OVER), zones={"yard": SQUARE}, lines=lines))


def click(draft: Draft, *points: tuple[float, float]) -> None:
    for x, y in points:
        draft.press(x, y)
        draft.release(x, y)


def test_an_empty_draft_has_nothing_to_save_and_nothing_to_take_back() -> None:
    draft = Draft(CameraRules())
    draft.undo()
    click(draft, (0.5, 0.5))
    assert not draft.is_changed
    assert overlay(draft, 640, 480) == ""


def test_a_zone_is_drawn_corner_by_corner_and_closed_at_its_first(draft: Draft) -> None:
    draft.begin("zone")
    click(draft, (0.1, 0.1), (0.5, -0.2), (0.5, 0.5), (0.11, 0.11))
    assert draft.shapes("zone")["zone-1"] == ((0.1, 0.1), (0.5, 0.0), (0.5, 0.5))
    assert draft.chosen == ("zone", "zone-1")
    assert draft.drawing is None
    assert draft.is_changed


def test_two_corners_are_no_zone_and_a_line_has_two_ends(draft: Draft) -> None:
    draft.begin("zone")
    click(draft, (0.1, 0.1), (0.5, 0.1))
    assert not draft.finish()
    draft.begin("line")
    click(draft, (0.1, 0.1), (0.1, 0.1), (0.5, 0.1))
    assert draft.shapes("line")["line-1"] == ((0.1, 0.1), (0.5, 0.1))


def test_every_step_is_taken_back(draft: Draft) -> None:
    before = draft.part
    draft.begin("zone")
    click(draft, (0.1, 0.1), (0.5, 0.1), (0.5, 0.5))
    draft.undo()
    assert draft.points == [(0.1, 0.1), (0.5, 0.1)]
    click(draft, (0.4, 0.4))
    assert draft.finish()
    draft.drop("zone", "yard")
    draft.rename("line", "gate", "fence")
    for _ in range(3):
        draft.undo()
    assert draft.part == before
    assert not draft.is_changed


def test_a_corner_is_moved_by_pressing_there_and_letting_go_elsewhere(draft: Draft) -> None:
    draft.press(0.61, 0.59)
    draft.release(0.7, 0.8)
    assert draft.shapes("zone")["yard"][2] == (0.7, 0.8)
    assert draft.chosen == ("zone", "yard")
    click(draft, (0.9, 0.1))  # chooses, moves nothing
    assert draft.chosen == ("line", "gate")
    assert draft.shapes("line") == {"gate": ((0.9, 0.1), (0.9, 0.9))}


def test_rules_follow_a_new_name_and_go_with_what_they_are_about(draft: Draft) -> None:
    draft.rename("zone", "yard", "lot")
    assert [getattr(rule, "zone", "") for rule in draft.part.rules] == ["lot", ""]
    draft.place("zone", "other", SQUARE)
    with pytest.raises(ValueError, match="there is a zone 'other' already"):
        draft.rename("zone", "lot", "other")
    draft.drop("zone", "lot")
    assert draft.part.rules == (OVER,)


def test_a_rule_is_put_in_its_place(draft: Draft) -> None:
    changed = Enter(name="inside", classes=("person",), zone="yard", gone_s=5.0)
    draft.put_rule("in", changed)
    assert draft.part.rules == (changed, OVER)
    with pytest.raises(ValueError, match="there is a rule 'over' already"):
        draft.put_rule(None, Enter(name="over", classes=("person",), zone="yard"))
    draft.put_rule(None, INSIDE)
    draft.drop_rule("inside")
    assert draft.part.rules == (OVER, INSIDE)


def test_what_is_drawn_is_in_pixels_with_names_that_are_no_markup(draft: Draft) -> None:
    draft.rename("zone", "yard", "<b>")
    drawn = overlay(draft, 100, 50)
    assert 'points="20.0,10.0 60.0,10.0 60.0,30.0 20.0,30.0"' in drawn
    assert "&lt;b&gt;" in drawn
    assert drawn.count("<circle") == 4  # of what is chosen

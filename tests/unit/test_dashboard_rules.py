"""A camera's part of the rules file: taken out, put back, written without a loss."""

from __future__ import annotations

from datetime import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DataError
from models.vision.rules_file import Count, Cross, Enter, RulesFile, check_rules, read_rules
from streams.dashboard.rules.part import CameraRules, part_of, told, with_part
from streams.dashboard.rules.text import rewritten

CLASSES = ("person", "vehicle")
TEXT = b"""# ours; do not lose this line
time_zone = "Europe/Berlin"

[zones]  # corners
yard = [[0.1, 0.4], [0.9, 0.4], [0.9, 1.0]]  # the yard
lot = [[0, 0], [1, 0], [1, 1]]
spare = [[0, 0], [1, 0], [1, 1]]

[lines]
gate = [[0.5, 0.0], [0.5, 1.0]]

# who comes by night
[[rule]]
name = "night"
kind = "enter"
zone = "yard"
cameras = ["north"]
classes = ["person"]
severity = "medium"   # said, though it is the default
schedule = { days = ["sat"], begin = 22:00:00, end = 06:00:00 }

[[rule]]
name = "gate"
kind = "cross"
line = "gate"
classes = ["vehicle"]

[[rule]]
name = "full"
kind = "count"
limit = 3
zone = "lot"
cameras = ["s*"]
classes = ["vehicle"]
"""
FILE = read_rules(TEXT, "test")


def named(rules: Any) -> list[str]:
    return [rule.name for rule in rules]


def test_an_empty_file_has_an_empty_part() -> None:
    assert part_of(RulesFile(), "north") == CameraRules()


def test_a_camera_has_its_rules_what_they_name_and_what_nobody_names() -> None:
    north, south = part_of(FILE, "north"), part_of(FILE, "south")
    assert named(north.rules) == ["night", "gate"]
    assert list(north.zones) == ["yard", "spare"]
    assert list(north.lines) == list(south.lines) == ["gate"]  # whose rule holds for all
    assert named(south.rules) == ["gate", "full"]
    assert list(south.zones) == ["lot", "spare"]


def test_a_part_that_is_put_back_as_it_is_changes_no_byte() -> None:
    for camera in ("north", "south", "elsewhere"):
        after = with_part(FILE, camera, part_of(FILE, camera))
        assert after == FILE
        assert rewritten(TEXT, FILE, after) == TEXT


def test_a_drawn_zone_with_its_rule_comes_beside_what_is_there() -> None:
    before = part_of(FILE, "north")
    door = ((0.25, 0.25), (0.5, 0.25), (0.5, 0.5))
    rule = Enter(name="door", classes=("person",), zone="door", cameras=("north",), gone_s=1.0)
    part = msgspec.structs.replace(
        before, rules=(*before.rules, rule), zones={**before.zones, "door": door}
    )
    after = with_part(FILE, "north", part)
    made = rewritten(TEXT, FILE, after)
    assert read_rules(made, "made") == after
    assert check_rules(after, CLASSES, "made").zones["door"].tolist() == [list(p) for p in door]
    lines = made.decode().splitlines()
    assert [line for line in TEXT.decode().splitlines() if line not in lines] == []
    added = [line for line in lines if line not in TEXT.decode().splitlines()]
    assert added == [
        "door = [[0.25, 0.25], [0.5, 0.25], [0.5, 0.5]]",
        'name = "door"',
        "gone_s = 1.0",
        'zone = "door"',
    ]
    assert told(FILE, after) == "added zone door; added rule door"


def test_what_is_changed_or_deleted_leaves_the_rest_of_the_text() -> None:
    before = part_of(FILE, "north")
    night = msgspec.structs.replace(before.rules[0], severity="high", cooldown_s=5.0)
    zones = {"yard": (*before.zones["yard"][1:], (0.5, 0.5))}
    part = CameraRules(rules=(night,), zones=zones, lines={})
    after = with_part(FILE, "north", part)
    made = rewritten(TEXT, FILE, after).decode()
    assert read_rules(made.encode(), "made") == after
    assert "# ours; do not lose this line" in made
    assert 'severity = "high"   # said' in made
    assert "cooldown_s = 5.0" in made
    assert "gate" not in made
    assert "spare" not in made
    assert made.count("lot") == 2
    assert told(FILE, after) == (
        "changed zone yard; deleted zone spare; deleted line gate; changed rule night; "
        "deleted rule gate"
    )


def test_a_rule_may_become_one_of_another_kind() -> None:
    rule = Count(name="night", classes=("person",), limit=2, cameras=("north",))
    before = part_of(FILE, "north")
    part = msgspec.structs.replace(before, rules=(rule, before.rules[1]))
    made = rewritten(TEXT, FILE, with_part(FILE, "north", part))
    assert read_rules(made, "made").rule[0] == rule


def test_others_are_not_touched_and_names_are_not_taken_twice() -> None:
    before, whole = part_of(FILE, "north"), ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))
    for change, why in (
        ({"zones": {**before.zones, "lot": whole}}, "the zone 'lot' is another camera's"),
        (
            {"rules": (Enter(name="x", classes=("person",), zone="yard", cameras=("south",)),)},
            "rule 'x' is for south: name 'north' too",
        ),
        ({"rules": (before.rules[0], before.rules[0])}, "same name"),
    ):
        with pytest.raises(DataError, match=why):
            with_part(FILE, "north", msgspec.structs.replace(before, **change))
    taken = msgspec.structs.replace(before.rules[0], name="full")
    after = with_part(FILE, "north", msgspec.structs.replace(before, rules=(taken,)))
    with pytest.raises(DataError, match="two rules are named 'full'"):
        check_rules(after, CLASSES, "made")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# nothing but a comment",
        b'rule = [ { name = "a", kind = "count", limit = 1, classes = ["person"] } ]\n',
        b"zones.yard = [[0, 0], [1, 0], [1, 1]]\nlines = { gate = [[0, 0], [1, 1]] }\n",
        b"zones = { yard = [[0, 0], [1, 0], [1, 1]] }\r\n",
    ],
)
def test_other_layouts_are_changed_too(text: bytes) -> None:
    before = read_rules(text, "test")
    part = part_of(before, "north")
    rule = Cross(name="over", classes=("person",), line="middle")
    after = with_part(
        before,
        "north",
        CameraRules(
            rules=(*part.rules, rule),
            zones={**part.zones, "new": ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))},
            lines={"middle": ((0.5, 0.0), (0.5, 1.0))},
        ),
    )
    assert read_rules(rewritten(text, before, after), "made") == after


NAMES = st.sampled_from(["a", "b", "c.d", "e-f", "1"])
SHARES = st.floats(0, 1, width=32)
POINTS = st.tuples(SHARES, SHARES)
CAMERAS = st.sampled_from([("*",), ("north",), ("n*", "south")])
RULES = st.one_of(
    st.builds(Enter, name=NAMES, classes=st.just(("person",)), zone=NAMES, cameras=CAMERAS),
    st.builds(
        Cross,
        name=NAMES,
        classes=st.just(("person", "vehicle")),
        line=NAMES,
        cameras=CAMERAS,
        direction=st.sampled_from(["left", "both"]),
        min_confidence=SHARES,
    ),
)
FILES = st.builds(
    RulesFile,
    rule=st.lists(RULES, max_size=4, unique_by=lambda rule: rule.name).map(tuple),
    zones=st.dictionaries(NAMES, st.lists(POINTS, min_size=3, max_size=5).map(tuple), max_size=3),
    lines=st.dictionaries(NAMES, st.tuples(POINTS, POINTS), max_size=3),
)


@given(before=FILES, after=FILES)
def test_any_file_is_rewritten_into_any_other(before: RulesFile, after: RulesFile) -> None:
    made = rewritten(b"", RulesFile(), before)
    assert read_rules(made, "before") == before
    placed = {rule.name: rule for rule in after.rule}
    kept = [placed.pop(rule.name) for rule in before.rule if rule.name in placed]
    wanted = msgspec.structs.replace(after, rule=(*kept, *placed.values()))
    assert read_rules(rewritten(made, before, wanted), "after") == wanted


def test_a_time_of_day_stays_one() -> None:
    assert FILE.rule[0].schedule.begin == time(22)
    part = part_of(FILE, "north")
    schedule = msgspec.structs.replace(part.rules[0].schedule, end=time(7, 30))
    rules = (msgspec.structs.replace(part.rules[0], schedule=schedule), part.rules[1])
    made = rewritten(
        TEXT, FILE, with_part(FILE, "north", msgspec.structs.replace(part, rules=rules))
    )
    assert b"begin = 22:00:00, end = 07:30:00" in made

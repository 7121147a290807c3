from __future__ import annotations

import textwrap
from datetime import time

import pytest

from models.errors import DataError
from models.vision import rules_file
from models.vision.rules_file import Count, Cross, Enter, Left, Loiter, parse_rules

CLASSES = ("person", "car", "suitcase")
EXAMPLE = textwrap.dedent((rules_file.__doc__ or "").partition("::")[2])
GEOMETRY = """
[zones]
yard = [[0.1, 0.4], [0.9, 0.4], [0.9, 1.0]]
[lines]
gate = [[0.5, 0.0], [0.5, 1.0]]
"""


def rule(*lines: str) -> bytes:
    return (GEOMETRY + "[[rule]]\n" + "\n".join(lines) + "\n").encode()


def test_an_empty_file_has_no_rules() -> None:
    assert parse_rules(b"", CLASSES, "rules.toml").rules == ()


def test_the_example_of_the_docstring_is_valid() -> None:
    book = parse_rules(EXAMPLE.encode(), CLASSES, "rules.toml")
    (found,) = book.rules
    assert isinstance(found, Enter)
    assert (found.schedule.begin, found.schedule.end) == (time(22), time(6))
    assert book.zones["yard"].shape == (4, 2)
    assert book.of_camera("north").rules == book.rules
    assert book.of_camera("west").rules == ()
    assert (book.class_name(1), book.class_name(7)) == ("car", "class 7")


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (Enter, ['kind = "enter"', 'zone = "yard"', 'classes = ["person"]']),
        (Cross, ['kind = "cross"', 'line = "gate"', 'direction = "left"', 'classes = ["car"]']),
        (Loiter, ['kind = "loiter"', 'zone = "yard"', "seconds = 30", 'classes = ["person"]']),
        (Count, ['kind = "count"', "limit = 3", 'classes = ["person", "car"]']),
        (Left, ['kind = "left"', "seconds = 60", 'classes = ["suitcase"]']),
    ],
)
def test_every_kind_of_rule_is_read(kind: type, lines: list[str]) -> None:
    book = parse_rules(rule('name = "x"', 'cameras = ["gate-*"]', *lines), CLASSES, "rules.toml")
    assert isinstance(book.rules[0], kind)
    assert book.of_camera("gate-2").rules
    assert not book.of_camera("yard").rules


ENTER = ('kind = "enter"', 'zone = "yard"')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"rule = ", "Invalid value"),
        (b"\xff\xfe", "utf-8"),
        (b"x" * ((1 << 20) + 1), "at most 1048576 are read"),
        (b'time_zone = "Mars"', "no time zone 'Mars'"),
        (rule('name = "a"', *ENTER), "missing required field `classes`"),
        (rule('name = "a"', *ENTER, "classes = []"), "length >= 1"),
        (rule('name = "a b"', *ENTER, 'classes = ["car"]'), "$.rule[0].name"),
        (rule('name = "a"', *ENTER, 'classes = ["dog"]'), "names the class 'dog'; there is: car"),
        (rule('name = "a"', *ENTER, 'classes = ["car"]', "speed = 3"), "unknown field `speed`"),
        (
            rule('name = "a"', 'kind = "enter"', 'zone = "garden"', 'classes = ["car"]'),
            "names the zone 'garden'; there is: yard",
        ),
        (
            rule('name = "a"', 'kind = "cross"', 'line = "yard"', 'classes = ["car"]'),
            "names the line 'yard'; there is: gate",
        ),
        (rule('name = "a"', 'kind = "fly"', 'classes = ["car"]'), "Invalid value 'fly'"),
        (rule('name = "a"', *ENTER, 'classes = ["car"]', "min_confidence = 50"), "<= 1.0"),
        (rule('name = "a"', *ENTER, 'classes = ["car"]', "gone_s = -1"), ">= 0"),
        (rule('name = "a"', *ENTER, 'classes = ["car"]', "max_s = nan"), "max_s"),
        (
            rule('name = "a"', *ENTER, 'classes = ["car"]', 'schedule = {time_zone = "X"}'),
            "no time zone 'X'",
        ),
        (
            rule('name = "a"', *ENTER, 'classes = ["car"]')
            + b'[[rule]]\nname = "a"\nkind = "enter"\nzone = "yard"\nclasses = ["car"]\n',
            "two rules are named 'a'",
        ),
        (b"[zones]\na = [[0, 0], [1, 1]]", "length >= 3"),
        (b"[zones]\na = [[0, 0], [1, 1], [0.5, 0.5]]", "zone 'a' has no area"),
        (b"[zones]\na = [[0, 0], [100, 0], [100, 100]]", "<= 1.0"),
        (b"[zones]\na = [[0, 0], [nan, 0], [1, 1]]", "a"),
        (b"[lines]\na = [[0.5, 0.5], [0.5, 0.5]]", "line 'a' ends where it begins"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_the_name_of_the_file(
    content: bytes, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        parse_rules(content, CLASSES, "rules.toml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("rules.toml")
    assert "\n" not in str(caught.value)

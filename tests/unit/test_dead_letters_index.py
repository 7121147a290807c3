"""Which letters are wanted, and how they are counted and shown."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import BadParameter

from streams.cli.letter_text import MAX_SHOWN, as_json, as_line, in_full
from streams.cli.options import moment_or_ago_ms
from streams.dead_letters.index import (
    MAX_KINDS,
    OTHER,
    Letter,
    Tally,
    Wanted,
    dead_topics,
    place_of,
)
from streams.errors import SettingsError
from streams.schemas import DeadLetter
from streams.settings import Settings

CONTENT = DeadLetter(
    value=b'{"tx_id": "t1"}',
    key=b"c1",
    headers=(("trace", b"\x00"),),
    reason="amount 7.5 EUR is above the limit of 5",
    step="decode",
    topic="transactions",
    partition=2,
    offset=41,
    timestamp=1_700_000_000_000,
)
LETTER = Letter("transactions.dead", 0, 17, 1_700_000_001_000, CONTENT)


def letter(reason: str, at: int = 0) -> Letter:
    from msgspec.structs import replace as changed

    return replace(LETTER, buried_at=at, content=changed(CONTENT, reason=reason))


def test_no_letters_are_no_kinds() -> None:
    assert Tally().kinds() == []


def test_letters_whose_reasons_differ_in_numbers_are_one_kind() -> None:
    tally = Tally()
    for at, amount in ((5, "7.5"), (3, "1e200"), (9, "-12")):
        tally.add(letter(f"amount {amount} EUR is above", at))
    tally.add(letter("no rate for currency 'XAU'", 4))

    first, second = tally.kinds()

    assert (first.reason, first.letters) == ("amount N EUR is above", 3)
    assert (first.first, first.last, first.newest) == (3, 9, "transactions.dead:0:17")
    assert (second.reason, second.letters) == ("no rate for currency 'XAU'", 1)


def test_reasons_that_quote_their_records_do_not_fill_the_memory() -> None:
    tally = Tally()
    for number in range(3 * MAX_KINDS):
        tally.add(letter("x" * number))

    kinds = tally.kinds()

    assert len(kinds) == MAX_KINDS + 1
    assert kinds[0].reason == OTHER
    assert sum(kind.letters for kind in kinds) == 3 * MAX_KINDS


@pytest.mark.parametrize(
    ("wanted", "is_wanted"),
    [
        (Wanted(), True),
        (Wanted(reason="ABOVE the"), True),
        (Wanted(reason="below"), False),
        (Wanted(since_ms=LETTER.buried_at, until_ms=LETTER.buried_at + 1), True),
        (Wanted(since_ms=LETTER.buried_at + 1), False),
        (Wanted(until_ms=LETTER.buried_at), False),
    ],
)
def test_letters_are_chosen_by_reason_and_time_of_burial(wanted: Wanted, is_wanted: bool) -> None:
    assert wanted.includes(LETTER) is is_wanted


def test_a_topic_is_named_by_itself_or_by_its_dead_letters() -> None:
    settings = Settings.model_construct()

    every = ["transactions.dead", "labels.dead", "frames.dead", "alerts.dead"]
    assert dead_topics(settings) == every
    assert dead_topics(settings, ["labels", "frames.dead"]) == ["labels.dead", "frames.dead"]
    with pytest.raises(SettingsError, match="--topic scores: one of transactions, labels, frames"):
        dead_topics(settings, ["scores"])


@pytest.mark.parametrize("name", ["", "a", "a:1", "a:b:c", "a:1:-1", "a:1:²"])
def test_what_is_no_place_of_a_letter_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="write TOPIC:PARTITION:OFFSET"):
        place_of(name)


def test_a_letter_is_shown_with_all_that_is_known_of_it() -> None:
    lines = list(in_full(LETTER))

    assert lines == [
        "letter    transactions.dead:0:17, buried 2023-11-14 22:13:21",
        "reason    amount 7.5 EUR is above the limit of 5",
        "step      decode",
        "from      transactions:2:41, sent 2023-11-14 22:13:20",
        "key       c1",
        "header    trace: \\x00",
        "value     15 bytes",
        '{"tx_id": "t1"}',
    ]
    assert as_json(LETTER)["letter"] == "transactions.dead:0:17"


def test_bytes_that_are_no_text_are_dumped_and_long_ones_cut() -> None:
    from msgspec.structs import replace as changed

    binary = replace(LETTER, content=changed(CONTENT, value=b"\xff\xd8picture\x1b[2J"))
    assert list(in_full(binary))[-1] == (
        "00000000  ff d8 70 69 63 74 75 72 65 1b 5b 32 4a           ..picture.[2J"
    )
    cut = replace(LETTER, content=changed(CONTENT, value="ä".encode() * MAX_SHOWN + b"a"))
    assert list(in_full(cut))[-2:] == [
        "ä" * (MAX_SHOWN // 2),
        f"... {MAX_SHOWN + 1} bytes more: --save FILE writes all of them",
    ]
    null = replace(LETTER, content=changed(CONTENT, value=None, key=None))
    assert list(in_full(null))[-1] == "value     null"


def test_a_letter_of_a_record_that_was_replayed_says_of_which() -> None:
    from msgspec.structs import replace as changed

    headers = (("tocsin-replay-of", b"transactions.dead:0:3\x1b[2J\xff"),)
    again = replace(LETTER, content=changed(CONTENT, headers=headers))

    assert LETTER.replay_of is None
    assert "from transactions:2:41, replay of transactions.dead:0:3\\x1b[2J" in as_line(again)
    assert as_json(again)["replay_of"] == "transactions.dead:0:3\x1b[2J\ufffd"
    tally = Tally()
    for one in (LETTER, again, again):
        tally.add(one)
    (kind,) = tally.kinds()
    assert (kind.letters, kind.again, tally.letters) == (3, 2, 3)


@given(
    value=st.binary(max_size=200),
    key=st.binary(max_size=20),
    reason=st.text(max_size=40),
    header=st.tuples(st.text(max_size=10), st.binary(max_size=10) | st.none()),
    timestamp=st.integers(-(2**63), 2**63),
)
def test_nothing_in_a_letter_reaches_the_terminal_as_a_command(
    value: bytes, key: bytes, reason: str, header: tuple[str, bytes | None], timestamp: int
) -> None:
    content = DeadLetter(value, key, (header,), reason, "decode", "t", 0, 0, timestamp)
    hostile = replace(LETTER, content=content)

    for line in [*in_full(hostile), as_line(hostile)]:
        assert re.fullmatch(r"[^\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]*", line)


def test_times_are_dates_or_so_long_ago() -> None:
    assert moment_or_ago_ms("2018-07-25") == 1_532_476_800_000
    earlier, later = moment_or_ago_ms("2h"), moment_or_ago_ms("1h")
    assert later - earlier >= 3_600_000
    assert later - earlier < 4_000_000  # however long it took to ask twice
    with pytest.raises(BadParameter, match="2h for two hours ago"):
        moment_or_ago_ms("yesterday")

"""What the journal of replays says of a letter, compacted or not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.dead_letters.journal import Claims, Entry

Record = tuple[bytes, bytes | None]

SENDING, SENT = (msgspec.json.encode(Entry(state, 5)) for state in ("sending", "sent"))
NAME = "transactions:1:7@1700000000000"
LETTER = "Hs-6h_PZQ7yo6sV9Yk0rMw:1:7"


def read(records: list[Record]) -> Claims:
    claims = Claims()
    for key, value in records:
        claims.note(key, value)
    return claims


def of(run: str, value: bytes | None, name: str = NAME) -> Record:
    return f"{name}:{run}".encode(), value


def test_of_an_empty_journal_nothing_is_known() -> None:
    assert read([]).state(NAME) is None


def test_a_letter_is_claimed_then_sent_and_a_run_that_stands_back_takes_nothing_from_it() -> None:
    claimed = [of("a", SENDING), of("b", SENDING)]
    assert read(claimed).state(NAME) == "sending"
    assert read([*claimed, of("b", None)]).state(NAME) == "sending"
    assert read([*claimed, of("b", None), of("a", None)]).state(NAME) is None
    assert read([*claimed, of("a", SENT)]).state(NAME) == "sent"
    assert read([*claimed, of("a", SENT), of("b", None)]).state(NAME) == "sent"
    assert read([*claimed, of("a", SENT), of("c", SENDING)]).state(NAME) == "sent"
    assert read([*claimed, of("a", SENT)]).state("transactions:7:1@1700000000000") is None


def test_a_record_is_told_from_others_of_its_place_and_from_the_letter_at_that_place() -> None:
    said = read([of("a", SENT)])
    assert said.state("transactions:1:7@1600000000000") is None
    assert said.state("transactions:1:7") is None
    assert not said.earlier()
    assert Claims().note(*of("a", SENT, "t:0:3@-1")) == ("t:0:3@-1", "a")  # it has no timestamp


@pytest.mark.parametrize(
    ("letters", "record", "state"),
    [
        ([], [], None),
        ([SENDING], [], "sending"),
        ([SENT], [], "sent"),
        ([None], [], None),
        ([SENT], [SENDING], "sent"),
        ([SENDING], [SENT], "sent"),
        ([SENDING], [None], "sending"),
    ],
)
def test_what_earlier_versions_said_of_a_letter_counts_for_its_record(
    letters: list[bytes | None], record: list[bytes | None], state: str | None
) -> None:
    said = read(
        [of("a", value, LETTER) for value in letters] + [of("b", value) for value in record]
    )
    assert said.earlier() == bool(letters)
    said.pass_on(LETTER, NAME)
    assert said.state(NAME) == state
    said.note(*of("c", SENT))
    said.pass_on(LETTER, NAME)
    assert said.state(NAME) == "sent"


@given(
    key=st.none()
    | st.binary()
    | st.sampled_from([b"t:1:2", b"t:x:2@5:r", b"t::2@5:r", b"t:1:2@:r", b"t:1:" + b"9" * 5000])
)
def test_a_key_that_names_no_record_is_passed_by(key: bytes | None) -> None:
    assert Claims().note(key, SENT) is None


def test_a_value_that_cannot_be_read_leaves_the_letter_in_doubt() -> None:
    for value in (b"", b"\xff", b"{}", b'{"state": "later", "at": 1}', b"[" * 5000):
        assert read([of("a", value)]).state(NAME) == "sending"


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from([SENDING, SENT, None]),
            st.sampled_from([NAME, LETTER, "transactions:0:7@1700000000000"]),
        )
    )
)
def test_compaction_hides_no_send_and_no_claim(
    said: list[tuple[str, bytes | None, str]],
) -> None:
    # A run settles or withdraws a letter once: nothing follows its last word on it.
    records: list[Record] = []
    ended = set()
    for run, state, name in said:
        key, value = of(run, state, name)
        if key not in ended:
            records.append((key, value))
        if value != SENDING:
            ended.add(key)
    last = {key: at for at, (key, _) in enumerate(records)}
    compacted = [record for at, record in enumerate(records) if last[record[0]] == at]
    without_tombstones = [record for record in compacted if record[1] is not None]
    whole, *others = (read(one) for one in (records, compacted, without_tombstones))
    for _, _, name in said:
        assert {whole.state(name)} == {other.state(name) for other in others}

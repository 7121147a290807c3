"""What the journal of replays says of a letter, compacted or not."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.dead_letters.journal import Claims, Entry

Record = tuple[bytes, bytes | None]

SENDING, SENT = (msgspec.json.encode(Entry(state, 5)) for state in ("sending", "sent"))
PLACE = (1, 7)


def read(records: list[Record], topic_id: str = "id") -> Claims:
    claims = Claims(topic_id)
    for key, value in records:
        claims.note(key, value)
    return claims


def of(run: str, value: bytes | None, place: tuple[int, int] = PLACE) -> Record:
    return Claims("id").key(place, run), value


def test_of_an_empty_journal_nothing_is_known() -> None:
    assert read([]).state(PLACE) is None


def test_a_letter_is_claimed_then_sent_and_a_run_that_stands_back_takes_nothing_from_it() -> None:
    claimed = [of("a", SENDING), of("b", SENDING)]
    assert read(claimed).state(PLACE) == "sending"
    assert read([*claimed, of("b", None)]).state(PLACE) == "sending"
    assert read([*claimed, of("b", None), of("a", None)]).state(PLACE) is None
    assert read([*claimed, of("a", SENT)]).state(PLACE) == "sent"
    assert read([*claimed, of("a", SENT), of("b", None)]).state(PLACE) == "sent"
    assert read([*claimed, of("a", SENT), of("c", SENDING)]).state(PLACE) == "sent"
    assert read([*claimed, of("a", SENT)]).state((7, 1)) is None


def test_what_is_said_of_another_topic_of_the_name_is_not_of_these_letters() -> None:
    assert read([of("a", SENT)], "other").state(PLACE) is None
    assert Claims("other").note(*of("a", SENT)) is None
    assert Claims("a:b").note(Claims("a:b").key(PLACE, "run"), SENT) == (PLACE, "run")


@given(
    key=st.none()
    | st.binary()
    | st.sampled_from([b"id:1:2", b"id:x:2:r", b"id::2:r", b"id:1:" + b"9" * 5000 + b":r"])
)
def test_a_record_that_names_no_letter_is_passed_by(key: bytes | None) -> None:
    assert Claims("id").note(key, SENT) is None


def test_a_value_that_cannot_be_read_leaves_the_letter_in_doubt() -> None:
    for value in (b"", b"\xff", b"{}", b'{"state": "later", "at": 1}', b"[" * 5000):
        assert read([of("a", value)]).state(PLACE) == "sending"


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from([SENDING, SENT, None]),
            st.tuples(st.integers(0, 1), st.integers(0, 2)),
        )
    )
)
def test_compaction_hides_no_send_and_no_claim(
    said: list[tuple[str, bytes | None, tuple[int, int]]],
) -> None:
    # A run settles or withdraws a letter once: nothing follows its last word on it.
    records: list[Record] = []
    ended = set()
    for run, state, place in said:
        key, value = of(run, state, place)
        if key not in ended:
            records.append((key, value))
        if value != SENDING:
            ended.add(key)
    last = {key: at for at, (key, _) in enumerate(records)}
    compacted = [record for at, record in enumerate(records) if last[record[0]] == at]
    without_tombstones = [record for record in compacted if record[1] is not None]
    whole, *others = (read(one) for one in (records, compacted, without_tombstones))
    for _, _, place in said:
        assert {whole.state(place)} == {other.state(place) for other in others}

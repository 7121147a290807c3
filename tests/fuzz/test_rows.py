"""What Redis gives back: whatever the bytes are, a row as written or a refusal that says so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from models.fraud.features import CARD_STATE
from models.fraud.profile import PROFILE
from streams.devstack import EmbeddedRedis
from streams.erasure import Erasure, decode_erasure
from streams.errors import Fenced, ForeignState
from streams.schemas import DECODE_ERRORS
from streams.settings import RedisSettings
from streams.state.open_cameras import load_open, open_blob
from streams.state.outbox import Pending, load_outbox, outbox_blob
from streams.state.redis import RedisStateStore
from streams.state.sketch import ScoreSketch
from streams.state.store import Identity, Owner, PartitionSnapshot, differences, digests
from streams.state.table import ROW_VERSION, parse_heads, parse_rows, row_dtype
from tests.fuzz.inputs import damaged

TAIL = 12


@given(st.sampled_from([CARD_STATE, PROFILE]), st.data())
def test_a_row_comes_back_byte_by_byte_or_is_refused(state: np.dtype[Any], data: Any) -> None:
    record = row_dtype(state)
    width = record.itemsize + TAIL
    own = (ROW_VERSION).to_bytes(2, "little")
    exact = st.binary(min_size=width - 2, max_size=width - 2).map(lambda rest: own + rest)
    values = data.draw(
        st.lists(st.one_of(exact, st.binary(max_size=width + 3)), min_size=1, max_size=4)
    )
    try:
        records, tails = parse_rows(values, record, TAIL)
    except ForeignState:
        assert any(len(value) != width or value[:2] != own for value in values)
    else:
        joined = [row.tobytes() + tail.tobytes() for row, tail in zip(records, tails, strict=True)]
        assert joined == values
        assert parse_heads(values, record).tobytes() == records.tobytes()


@given(st.lists(st.one_of(st.none(), st.binary(max_size=80)), min_size=1, max_size=8))
def test_sketches_of_another_kind_are_refused(values: list[bytes | None]) -> None:
    try:
        ScoreSketch.parse(values)
    except ForeignState:
        assert any(value is not None for value in values)


OURS = Identity(group="g", cluster="c", topic="t", topic_id="x", partitions=1, model="m").encode()


@pytest.mark.parametrize(("kind", "good"), [("owner", Owner.new(7).encode()), ("marker", b"41")])
@given(data=st.data())
def test_a_damaged_owner_or_marker_is_refused_by_its_key(
    embedded_redis: EmbeddedRedis, kind: str, good: bytes, data: Any
) -> None:
    namespace = f"fuzz-{kind}"
    key, row = f"{namespace}:{{0000}}:{kind}:0000", digests(["c1"])
    value = data.draw(st.one_of(st.binary(max_size=40), damaged(good), st.just(b"9" * 5000)))
    store = RedisStateStore(RedisSettings(url=embedded_redis.url), namespace)
    store.clear()
    store.claim([0], 1)
    store.flush(PartitionSnapshot(0, row, np.zeros((1, TAIL), np.uint8), 41))
    with Redis.from_url(embedded_redis.url) as client:
        client.set(key, value)
    calls: list[Callable[[], object]] = [
        lambda: store.markers([0]),
        lambda: store.load(np.zeros(1, np.int32), row),
        lambda: store.flush(PartitionSnapshot(0, row, np.zeros((1, TAIL), np.uint8), 42)),
        lambda: store.claim([0], 8),
    ]
    for call in calls:
        try:
            call()
        except Fenced:
            continue  # another owner, or another time: it can be read
        except ForeignState as error:
            assert f"'{key}' in Redis is damaged" in str(error)  # noqa: PT017 - may also not raise
    store.close()


@given(st.one_of(st.none(), st.binary(max_size=60), damaged(OURS)))
def test_an_identity_of_another_kind_can_still_be_told(held: bytes | None) -> None:
    assert differences(held, OURS) or Identity.decode(held or b"") == Identity.decode(OURS)


def holding(value: bytes) -> Any:
    """A store in which every partition has this value."""
    return SimpleNamespace(load=lambda *_where: [value])


PENDING = st.builds(
    Pending,
    st.text(max_size=9),
    st.one_of(st.none(), st.binary(max_size=9)),
    st.one_of(st.none(), st.binary(max_size=9)),
    st.lists(st.tuples(st.text(max_size=5), st.one_of(st.none(), st.binary(max_size=5)))),
)


@given(st.lists(PENDING, max_size=3))
def test_an_outbox_comes_back_as_it_was(pending: list[Pending]) -> None:
    _, value = outbox_blob(pending)
    assert load_outbox(holding(value), 0) == pending


@given(st.dictionaries(st.text(max_size=9), st.integers(0, 2**62), max_size=3))
def test_open_cameras_come_back_as_they_were(cameras: dict[str, int]) -> None:
    _, value = open_blob(cameras)
    assert load_open(holding(value), 0) == cameras


NEARLY = st.lists(PENDING, max_size=3).map(lambda pending: outbox_blob(pending)[1])


@given(st.one_of(st.binary(max_size=60), NEARLY.flatmap(damaged)))
def test_what_is_no_outbox_is_refused(value: bytes) -> None:
    for load in (load_outbox, load_open):
        with suppress(ForeignState):
            load(holding(value), 0)


ERASURE = msgspec.json.encode(Erasure("transactions", "x", {0: 12, 3: 2**40}, 1_700_000_000_000))


@given(
    st.one_of(st.binary(max_size=60), damaged(b"fraud:" + b"0a" * 16)),
    st.one_of(st.binary(max_size=60), damaged(ERASURE)),
)
def test_an_erasure_is_read_as_it_was_written_or_is_none(key: bytes, value: bytes) -> None:
    try:
        card, erasure = decode_erasure(key, value)
    except DECODE_ERRORS:
        return
    assert len(card) == 16
    assert all(0 <= offset < 2**63 for offset in erasure.offsets.values())


@pytest.mark.parametrize("key", [b"", b"fraud:", b"fraud:card-1", b"fraud:" + b"0a" * 15, b"\xff"])
def test_a_key_that_is_no_digest_is_no_erasure_and_stops_nobody(key: bytes) -> None:
    with pytest.raises(DECODE_ERRORS):
        decode_erasure(key, ERASURE)

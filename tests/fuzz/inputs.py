"""What nobody should send: near misses of what a topic holds, and the corpus of what once hurt.

A file in ``corpus/TOPIC`` is the value of one record. What a fuzz run finds is added there, so that
it is tried every time from then on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

CORPUS = Path(__file__).with_name("corpus")

PAYMENT: dict[str, object] = {
    "tx_id": "t1",
    "card_id": "c1",
    "terminal_id": "s1",
    "amount": 12.5,
    "currency": "EUR",
    "event_time": 1_700_000_000_000,
    "attributes": {"channel": "chip"},
}
VERDICT: dict[str, object] = {
    "kind": "transaction",
    "tx_id": "t1",
    "card_id": "c1",
    "terminal_id": "s1",
    "amount": 12.5,
    "event_time": 1_700_000_000_000,
    "labelled_at": 1_700_100_000_000,
    "is_fraud": True,
    "source": "analyst",
}

EDGES = (0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**400)
NUMBERS = st.one_of(
    st.sampled_from(EDGES),
    st.integers(),
    st.floats(),
    st.sampled_from([1e-320, 5e-324, 1e9, 1e9 + 1e-6, 1.7976931348623157e308, -0.0]),
)
TEXTS = st.one_of(st.text(), st.sampled_from(["", " ", "\x00", "\ud800", "é" * 300, "c1", "EUR"]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


def corpus(topic: str) -> list[Path]:
    """The files of a topic, of which there must be some."""
    found = sorted(CORPUS.joinpath(topic).iterdir())
    assert found
    return found


def near(good: Mapping[str, object]) -> st.SearchStrategy[bytes]:
    """`good` with fields that are changed, missing or added, as JSON that may be cut or damaged."""
    whole = _changed(good).map(_encoded)
    return st.one_of(whole, whole.flatmap(damaged), st.binary(max_size=60))


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with some bytes replaced, doubled or gone."""
    place = st.integers(0, max(len(data) - 1, 0))
    return st.builds(
        lambda at, count, put: data[:at] + put + data[at + count :],
        place,
        st.integers(0, 8),
        st.binary(max_size=8),
    )


def _changed(good: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """`good` with some of its fields otherwise, or with one field that is so itself."""
    changes = st.dictionaries(st.one_of(st.sampled_from(sorted(good)), TEXTS), VALUES, max_size=3)
    gone = st.sets(st.sampled_from(sorted(good)), max_size=1)
    here = st.builds(
        lambda new, less: {name: v for name, v in {**good, **new}.items() if name not in less},
        changes,
        gone,
    )
    within = [
        _changed(inner).map(lambda new, name=name: {**good, name: new})
        for name, inner in good.items()
        if isinstance(inner, Mapping) and inner
    ]
    return st.one_of(here, *within)


def _encoded(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")

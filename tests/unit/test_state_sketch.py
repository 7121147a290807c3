"""Histograms of scores by hour of event time."""

from __future__ import annotations

import numpy as np
import pytest

from streams.errors import ForeignState
from streams.state.sketch import (
    BINS,
    KEYS,
    NEVER,
    RING,
    ROW,
    ScoreSketch,
    bins_of,
    score_at,
)
from streams.state.store import digest


def counts(**bins: int) -> np.ndarray:
    found = np.zeros(BINS, np.int64)
    for name, number in bins.items():
        found[int(name[1:])] = number
    return found


def test_no_scores_have_no_bins() -> None:
    assert bins_of(np.zeros(0, np.float32)).shape == (0,)


def test_bins_rise_with_the_score_and_every_score_has_one() -> None:
    scores = np.linspace(0, 1, 10_001).astype(np.float32)
    bins = bins_of(scores)

    assert (np.diff(bins) >= 0).all()
    assert (bins[0], bins[-1]) == (0, BINS - 1)


def test_the_score_at_a_bins_edge_is_in_that_bin() -> None:
    edges = np.array([score_at(place + 0.01) for place in range(1, BINS - 1)])
    np.testing.assert_array_equal(bins_of(edges), np.arange(1, BINS - 1))


def test_a_new_sketch_holds_no_window_and_nothing_to_store() -> None:
    sketch = ScoreSketch()
    assert (sketch.rows["window"] == NEVER).all()
    assert sketch.dirty() == []


def test_counts_add_up_and_only_what_changed_is_stored() -> None:
    sketch = ScoreSketch()
    sketch.add(1000, counts(b3=2))
    sketch.add(1000, counts(b3=1, b9=4), alerts=3)
    sketch.add(1001, counts(b0=1))

    rows = np.frombuffer(b"".join(value for _, value in sketch.dirty()), ROW)
    assert {int(row["window"]): int(row["counts"].sum()) for row in rows} == {1000: 7, 1001: 1}
    assert rows["alerts"].sum() == 3
    assert sketch.dirty() == []


def test_a_week_later_the_row_belongs_to_the_new_hour_and_the_old_hour_is_passed_by() -> None:
    sketch = ScoreSketch()
    sketch.add(1000, counts(b3=2), alerts=2)
    sketch.add(1000 + RING, counts(b4=5))
    sketch.add(1000, counts(b3=9))

    row = sketch.rows[1000 % RING]
    assert (row["window"], row["alerts"], row["counts"].sum()) == (1000 + RING, 0, 5)


def test_a_sketch_reads_back_as_it_was_stored() -> None:
    sketch = ScoreSketch()
    for window in (1000, 1003, 1100):
        sketch.add(window, counts(b3=window), alerts=1)
    slot_of = {key.tobytes(): slot for slot, key in enumerate(KEYS)}
    stored: list[bytes | None] = [None] * RING
    for key, value in sketch.dirty():
        stored[slot_of[key]] = value

    np.testing.assert_array_equal(ScoreSketch.parse(stored).rows, sketch.rows)


@pytest.mark.parametrize("width", [3, ROW.itemsize])
def test_a_row_of_another_version_is_refused(width: int) -> None:
    with pytest.raises(ForeignState, match="run tocsin state rebuild"):
        ScoreSketch.parse([b"\x09" * width])


def test_no_card_has_the_key_of_a_sketch() -> None:
    cards = {digest(str(slot)) for slot in range(RING)}
    assert not cards & {key.tobytes() for key in KEYS}
    assert len({key.tobytes() for key in KEYS}) == RING

"""Neither cuts between batches nor replays change what a budget has counted and decided."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.pipeline.budget import Budget
from tests.fakes.desk import Desk, DeskWorker, Scores, stream

SCORES = stream(3, volume=150, partitions=2, seed=9)


def new_desk() -> Desk:
    return Desk(SCORES, Budget(10.0, 1.5, 0.0), partitions=2)


def counted(worker: DeskWorker) -> tuple[int, int]:
    rows = [worker.policy.read(partition).rows for partition in range(2)]
    return (
        sum(int(of["counts"].sum()) for of in rows),
        sum(int(of["alerts"].sum()) for of in rows),
    )


def histograms(worker: DeskWorker) -> list[np.ndarray]:
    return [worker.policy.read(partition).rows[["window", "counts"]] for partition in range(2)]


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 120), min_size=1, max_size=6))
def test_the_histograms_do_not_depend_on_the_batches(sizes: list[int]) -> None:
    whole, cut = new_desk(), new_desk()
    (one,) = whole.workers(1)
    one.take(np.arange(len(SCORES)))
    one.flush()

    (other,) = cut.workers(1)
    at, turn = 0, 0
    while at < len(SCORES):
        end = min(at + sizes[turn % len(sizes)], len(SCORES))
        other.take(np.arange(at, end))
        at, turn = end, turn + 1
    other.flush()

    for ours, theirs in zip(histograms(one), histograms(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(1, 80), st.sampled_from(["go on", "flush", "die"])),
        min_size=3,
        max_size=25,
    )
)
def test_a_replay_from_the_last_flush_counts_nothing_twice_and_alerts_on_the_same(
    steps: list[tuple[int, str]],
) -> None:
    calm, killed = new_desk(), new_desk()
    (one,), (other,) = calm.workers(1), killed.workers(1)
    at = 0
    for size, fate in steps:
        index = np.arange(at, min(at + size, len(SCORES)))
        one.take(index)
        other.take(index)
        at += len(index)
        if fate == "flush":
            one.flush()
            other.flush()
        elif fate == "die":
            other = other.restarted()
    one.flush()
    other.flush()

    assert killed.alerts.keys() == calm.alerts.keys()
    assert counted(other) == counted(one) == (at, len(calm.alerts))


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(40)))
def test_the_order_of_events_within_a_batch_does_not_matter(order: list[int]) -> None:
    sorted_, mixed = new_desk(), new_desk()
    part = SCORES.take(slice(0, 40))
    (one,), (other,) = sorted_.workers(1), mixed.workers(1)
    limits = one.policy.thresholds(part.score, part.event_time, part.partition)
    shuffled: Scores = part.take(np.array(order))
    again = other.policy.thresholds(shuffled.score, shuffled.event_time, shuffled.partition)
    np.testing.assert_array_equal(again, limits[order])

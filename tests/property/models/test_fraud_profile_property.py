"""Terminal profiles against one label at a time in plain Python, under any cut and any order."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from models.fraud.profile import (
    FRAUD,
    GENUINE,
    NEVER,
    PROFILE_FEATURES,
    RING,
    RUN_LIMIT,
    TAUS_DAYS,
    WITHDRAWN,
    apply_labels,
    new_profiles,
    profile_features,
    summarise,
)
from models.fraud.sequences import plan_sequences

DAY = 86_400_000
STEP_MS = 3_500_000  # of all times, so that some are equal
TERMINALS = 2


class Label(NamedTuple):
    terminal: int
    tx: int
    event_time: int
    labelled_at: int
    verdict: int


def labels(transactions: int = 60) -> st.SearchStrategy[list[Label]]:
    """Verdicts on a few transactions of each terminal, so that they repeat and contradict."""
    verdict = st.sampled_from([FRAUD, GENUINE, GENUINE, WITHDRAWN])
    numbers = st.integers(0, TERMINALS * transactions - 1)
    delays = st.sampled_from(range(0, 20 * DAY, STEP_MS))
    return st.lists(st.builds(verdict_on, numbers, delays, verdict), max_size=60)


def verdict_on(tx: int, delay: int, verdict: int) -> Label:
    event_time = tx * 2 * STEP_MS
    return Label(tx % TERMINALS, tx, event_time, event_time + delay, verdict)


@st.composite
def crowded(draw: st.DrawFn) -> list[Label]:
    """Labels of more transactions than the ring has room for, then some more at any place."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tx = rng.permutation(60 * TERMINALS)[: draw(st.integers(70, 120))]
    delays = rng.integers(0, draw(st.sampled_from([DAY, 20 * DAY])), len(tx))
    genuine = draw(st.sampled_from([0.03, 0.4]))
    verdicts = rng.choice([FRAUD, GENUINE, WITHDRAWN], len(tx), p=[0.8 - genuine, genuine, 0.2])
    columns = (column.tolist() for column in (tx, delays, verdicts))
    stream = [verdict_on(*row) for row in zip(*columns, strict=True)]
    if draw(st.booleans()):
        stream.sort(key=lambda label: label.labelled_at)
    for label in draw(labels()):
        stream.insert(draw(st.integers(0, len(stream))), label)
    return stream


streams = labels() | crowded()
cuts = st.lists(st.integers(0, 180), max_size=6)
moments = st.sampled_from(range(0, 40 * DAY, STEP_MS))


def distinct(stream: list[Label]) -> list[Label]:
    """No two labels of one moment."""
    return list({label.labelled_at: label for label in stream}.values())


def run(stream: list[Label], where: list[int] = ()):  # type: ignore[no-untyped-def,assignment]
    """All profiles, and which labels were stale, over batches cut at `where`."""
    profiles = new_profiles(TERMINALS)
    late: list[bool] = []
    edges = sorted({0, len(stream), *(place for place in where if place < len(stream))})
    for begin, end in pairwise(edges):
        batch = stream[begin:end]
        plan = plan_sequences(np.array([one.terminal for one in batch], np.int64))
        profiles[plan.rows], stale = apply_labels(
            plan,
            tx=np.array([one.tx for one in batch], np.uint64),
            event_time=np.array([one.event_time for one in batch], np.int64),
            labelled_at=np.array([one.labelled_at for one in batch], np.int64),
            verdict=np.array([one.verdict for one in batch], np.int8),
            profiles=profiles[plan.rows],
        )
        late += stale.tolist()
    return profiles, late


@dataclass
class Terminal:
    """The reference: labels as lists."""

    ring: list[Label] = field(default_factory=list)
    folded: list[Label] = field(default_factory=list)
    run_start: int | None = None

    def apply(self, new: Label) -> bool:
        """Whether the label came too late."""
        for place, old in enumerate(self.ring):
            if old.tx == new.tx:
                if new.labelled_at < old.labelled_at:
                    return True
                self.ring[place] = new
                return False
        if self.folded:
            newest = self.folded[-1]
            if (new.labelled_at, new.tx) == (newest.labelled_at, newest.tx):
                return True
            if new.labelled_at < newest.labelled_at:
                return True
        if len(self.ring) < RING:
            self.ring.append(new)
            return False
        oldest = min(range(RING), key=lambda place: self.ring[place].labelled_at)
        if new.labelled_at < self.ring[oldest].labelled_at:
            self.fold(new)
        else:
            self.fold(self.ring[oldest])
            self.ring[oldest] = new
        return False

    def fold(self, label: Label) -> None:
        self.folded.append(label)
        last = max((o.event_time for o in self.folded if o.verdict == GENUINE), default=NEVER)
        if self.run_start is not None and self.run_start <= last:
            self.run_start = None
        if label.verdict == FRAUD and label.event_time > last:
            known = label.event_time if self.run_start is None else self.run_start
            self.run_start = min(label.event_time, known)

    def features(self, now: int) -> list[float]:
        base = bool(self.folded) and self.folded[-1].labelled_at <= now
        ring = [o for o in self.ring if o.labelled_at <= now and o.verdict != WITHDRAWN]
        known = ring + [o for o in self.folded if base and o.verdict != WITHDRAWN]
        ref = max((o.event_time for o in known), default=0)
        frauds = [o.event_time for o in known if o.verdict == FRAUD]
        genuine = [o.event_time for o in known if o.verdict == GENUINE]
        last_fraud, last_genuine = max(frauds, default=NEVER), max(genuine, default=NEVER)
        run = [o.event_time for o in ring if o.verdict == FRAUD and o.event_time > last_genuine]
        after = [o for o in ring if o.verdict == GENUINE and o.event_time > last_fraud]
        start = min(run, default=NEVER)
        if base and self.run_start is not None and self.run_start > last_genuine:
            start = min(self.run_start, start) if run else self.run_start

        def decayed(times: list[int], tau: float) -> float:
            return sum(math.exp(-(ref - time) / DAY / tau) for time in times)

        n = [decayed(frauds + genuine, tau) for tau in TAUS_DAYS]
        f = [decayed(frauds, tau) for tau in TAUS_DAYS]
        dates = (last_fraud, last_genuine, start)
        days = [min(max((now - date) / DAY, 0), 60) for date in dates]
        return [
            *(math.log1p(v) for v in n),
            *(bad / (v + 1) for v, bad in zip(n, f, strict=True)),
            *(math.log1p(v) - 2 for v in days),
            *(v / 30 - 1 for v in days),
            math.log1p(min(len(run), RUN_LIMIT)),
            math.log1p(min(len(after), RUN_LIMIT)),
            *(float(date != NEVER) for date in dates),
        ]


def read(profiles, now: int):  # type: ignore[no-untyped-def]
    time = np.full(TERMINALS, now, np.int64)
    return profile_features(summarise(profiles, time), time)


@settings(max_examples=60, deadline=None)
@given(streams, cuts, moments)
def test_one_label_at_a_time_in_plain_python_agrees(
    stream: list[Label], where: list[int], now: int
) -> None:
    terminals = [Terminal() for _ in range(TERMINALS)]
    late = [terminals[label.terminal].apply(label) for label in stream]
    profiles, stale = run(stream, where)
    assert stale == late
    expected = np.array([terminal.features(now) for terminal in terminals])
    assert expected.shape[1] == len(PROFILE_FEATURES)
    np.testing.assert_allclose(read(profiles, now), expected, rtol=2e-5, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(streams, cuts)
def test_where_the_stream_is_cut_changes_not_one_bit(stream: list[Label], where: list[int]) -> None:
    whole, parts = run(stream), run(stream, where)
    assert whole[0].tobytes() == parts[0].tobytes()
    assert whole[1] == parts[1]


@settings(max_examples=60, deadline=None)
@given(streams.map(distinct), st.data())
def test_repeating_a_label_changes_nothing(stream: list[Label], data: st.DataObject) -> None:
    again: list[Label] = []
    for place, label in enumerate(stream):
        again.append(label)
        if data.draw(st.booleans()):
            again.append(stream[data.draw(st.integers(0, place))])
    assert run(again)[0].tobytes() == run(stream)[0].tobytes()


@settings(max_examples=60, deadline=None)
@given(streams, moments, st.data())
def test_what_labels_say_after_a_moment_cannot_be_seen_at_that_moment(
    stream: list[Label], now: int, data: st.DataObject
) -> None:
    other = [
        label._replace(verdict=data.draw(st.sampled_from([FRAUD, GENUINE, WITHDRAWN])))
        if label.labelled_at > now
        else label
        for label in stream
    ]
    assert read(run(stream)[0], now).tobytes() == read(run(other)[0], now).tobytes()


@settings(max_examples=60, deadline=None)
@given(labels(RING), moments, st.data())
def test_while_the_ring_does_not_overflow_the_order_of_arrival_does_not_matter(
    stream: list[Label], now: int, data: st.DataObject
) -> None:
    assume(len({(one.tx, one.labelled_at) for one in stream}) == len(stream))
    shuffled = data.draw(st.permutations(stream))
    one, two = read(run(stream)[0], now), read(run(shuffled)[0], now)
    np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(labels(RING).map(distinct), moments)
def test_reading_the_past_is_reading_what_was_known_then(stream: list[Label], now: int) -> None:
    first: dict[int, Label] = {}
    for label in stream:
        first.setdefault(label.tx, label)
    once = list(first.values())  # a verdict that was replaced since is not remembered
    then = [label for label in once if label.labelled_at <= now]
    np.testing.assert_allclose(
        read(run(once)[0], now), read(run(then)[0], now), rtol=1e-5, atol=1e-6
    )

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
    LABEL,
    MAX_DAYS,
    PROFILE_FEATURES,
    RING,
    TAUS_DAYS,
    WITHDRAWN,
    apply_labels,
    new_profiles,
    profile_features,
    summarise,
)
from models.fraud.sequences import plan_sequences
from models.fraud.verdicts import AMENDABLE, COUNTED, SUPERSEDED, TOO_LATE

DAY = 86_400_000
STEP_MS = 3_500_000  # of all times, so that some are equal
TERMINALS = 2
LARGE = 250.0
AMOUNTS, RATIOS, BURSTS = (0.0, 20.0, 249.0, 250.0, 900.0), (2.0, 2.25, 2.5, 7.0, 9.0), (0, 1, 7.5)
"""Few values, with those among them where something changes, so that some frauds are alike."""


class Label(NamedTuple):
    terminal: int
    tx: int
    event_time: int
    labelled_at: int
    amount: float
    ratio: float
    burst: float
    verdict: int


def labels(transactions: int = 60) -> st.SearchStrategy[list[Label]]:
    """Verdicts on a few transactions of each terminal, so that they repeat and contradict."""
    verdict = st.sampled_from([FRAUD, GENUINE, GENUINE, WITHDRAWN])
    numbers = st.integers(0, TERMINALS * transactions - 1)
    delays = st.sampled_from(range(0, 20 * DAY, STEP_MS))
    explained = st.tuples(*(st.sampled_from(values) for values in (AMOUNTS, RATIOS, BURSTS)))
    return st.lists(st.builds(verdict_on, numbers, delays, verdict, explained), max_size=60)


def verdict_on(tx: int, delay: int, verdict: int, explained: tuple[float, float, float]) -> Label:
    event_time = tx // 4 * 8 * STEP_MS  # two transactions of each terminal in one moment
    return Label(tx % TERMINALS, tx, event_time, event_time + delay, *explained, verdict)


@st.composite
def crowded(draw: st.DrawFn) -> list[Label]:
    """Labels of more transactions than the ring has room for, then some more at any place."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tx = rng.permutation(60 * TERMINALS)[: draw(st.integers(70, 120))]
    delays = rng.integers(0, draw(st.sampled_from([DAY, 20 * DAY])), len(tx))
    genuine = draw(st.sampled_from([0.03, 0.4]))
    verdicts = rng.choice([FRAUD, GENUINE, WITHDRAWN], len(tx), p=[0.8 - genuine, genuine, 0.2])
    amounts, ratios, bursts = (rng.choice(values, len(tx)) for values in (AMOUNTS, RATIOS, BURSTS))
    explained = zip(amounts.tolist(), ratios.tolist(), bursts.tolist(), strict=True)
    columns = (column.tolist() for column in (tx, delays, verdicts))
    stream = [verdict_on(*row) for row in zip(*columns, explained, strict=True)]
    arrival = draw(st.sampled_from(["any", "labelled_at", "event_time"]))
    if arrival != "any":
        stream.sort(key=lambda label: getattr(label, arrival))  # type: ignore[no-any-return]
    for label in draw(labels()):
        stream.insert(draw(st.integers(0, len(stream))), label)
    return stream


streams = labels() | crowded()
cuts = st.lists(st.integers(0, 180), max_size=6)
moments = st.sampled_from(range(0, 90 * DAY, STEP_MS))


def distinct(stream: list[Label]) -> list[Label]:
    """No two verdicts on one transaction from one moment."""
    return list({(label.tx, label.labelled_at): label for label in stream}.values())


def agreed(stream: list[Label]) -> list[Label]:
    """One verdict on each transaction."""
    return list({label.tx: label for label in stream}.values())


def run(stream: list[Label], where: list[int] = ()):  # type: ignore[no-untyped-def,assignment]
    """All profiles, and the fates of the labels, over batches cut at `where`."""
    profiles = new_profiles(TERMINALS)
    fates: list[int] = []
    edges = sorted({0, len(stream), *(place for place in where if place < len(stream))})
    for begin, end in pairwise(edges):
        batch = stream[begin:end]
        columns = np.zeros(len(batch), LABEL)
        for name in LABEL.names or ():
            columns[name] = [getattr(label, name) for label in batch]
        plan = plan_sequences(np.array([label.terminal for label in batch], np.int64))
        profiles[plan.rows], of_batch = apply_labels(plan, columns, profiles[plan.rows])
        fates += of_batch.tolist()
    return profiles, fates


def age_of(label: Label) -> tuple[int, int]:
    """The order of transactions, oldest first."""
    return label.event_time, label.tx


@dataclass
class Terminal:
    """The reference: labels as lists."""

    ring: list[Label] = field(default_factory=list)
    folded: list[Label] = field(default_factory=list)
    """With their verdicts of today, where those may still change."""

    genuine: list[int] = field(default_factory=list)
    """Event time of the newest that was genuine when it was folded: older ones are forgotten."""

    until: int = 0
    newest: tuple[int, int] | None = None
    apart: list[Label] = field(default_factory=list)
    settled: tuple[int, int] = (-1, 0)

    def apply(self, new: Label) -> int:
        """Take one label in; return its fate."""
        for place, old in enumerate(self.ring):
            if old.tx == new.tx:
                if new.labelled_at < old.labelled_at:
                    return SUPERSEDED
                self.ring[place] = new
                return COUNTED
        if self.newest is not None and age_of(new) <= self.newest:
            return self.amend(new)
        self.ring.append(new)
        if len(self.ring) > RING:
            oldest = min(self.ring, key=age_of)
            self.ring.remove(oldest)
            self.newest = age_of(oldest)
            if oldest.verdict == GENUINE:
                self.genuine = [oldest.event_time]
            self.fold(oldest)
        return COUNTED

    def amend(self, new: Label) -> int:
        self.until = max(self.until, new.labelled_at)
        for old in self.apart:
            if old.tx == new.tx:
                if new.labelled_at < old.labelled_at:
                    return SUPERSEDED
                self.apart[self.apart.index(old)] = new
                self.folded[self.folded.index(old)] = new
                return COUNTED
        if new.verdict != FRAUD or age_of(new) <= self.settled:
            return TOO_LATE
        self.fold(new)
        return COUNTED

    def fold(self, label: Label) -> None:
        self.folded.append(label)
        self.until = max(self.until, label.labelled_at)
        if label.verdict == FRAUD:
            self.apart.append(label)
        if len(self.apart) > AMENDABLE:
            oldest = min(self.apart, key=age_of)
            self.apart.remove(oldest)
            self.settled = age_of(oldest)

    def features(self, now: int) -> list[float]:
        """Inputs of the network at `now`, from what was known then, in the order of their names."""
        # 1. What was known: of the folded labels all or nothing.
        folded, folded_genuine = self.folded, self.genuine
        if self.until > now:
            folded, folded_genuine = [], []
        ring = [o for o in self.ring if o.labelled_at <= now and o.verdict != WITHDRAWN]
        known = ring + [o for o in folded if o.verdict != WITHDRAWN]
        bad = [o for o in known if o.verdict == FRAUD]

        # 2. Runs: walk back from the newest fraud in the ring to the first genuine one before it.
        good = [o.event_time for o in ring if o.verdict == GENUINE] + folded_genuine
        frauds = [o for o in ring if o.verdict == FRAUD]
        last = max((o.event_time for o in frauds), default=None)
        newest_run, before = self.run_up_to(last, frauds, good)
        others = [o for o in frauds if o not in newest_run]
        # Folded genuine ones are older than all in the ring and can bound no run but its oldest.
        in_ring = [o.event_time for o in ring if o.verdict == GENUINE]
        end = max((o.event_time for o in others), default=None)
        previous, _ = self.run_up_to(end, others, in_ring)
        after = [time for time in in_ring if last is not None and time > last]
        alone = [o for o in newest_run if o.ratio < 2.5 and o.amount < LARGE]
        alone_before = [o for o in previous if o.ratio < 2.5 and o.amount < LARGE]

        # 3. How many calendar days ago.
        times = {
            "run_start": [o.event_time for o in newest_run][:1],
            "before_run": [before] if newest_run and before is not None else [],
            "last_fraud": [last] if last is not None else [],
            "after_run": [min(after)] if after else [],
            "unexplained": [o.event_time for o in alone][:1],
            "previous_run": [o.event_time for o in previous][:1],
            "last_genuine": [max(good)] if good else [],
        }
        row = {}
        for name, when in times.items():
            days = now // DAY - when[0] // DAY if when else MAX_DAYS
            row[f"days_since_{name}"] = min(max(days, 0), MAX_DAYS) / 30 - 1

        # 4. How many, and how far they are explained.
        row |= {
            "in_run": float(bool(newest_run)),
            "log_run": math.log1p(len(newest_run)),
            "log_after": math.log1p(len(after)),
            "log_unexplained": math.log1p(len(alone)),
            "log_previous_unexplained": math.log1p(len(alone_before)),
            "log_labels": math.log1p(len(known)) / 2 - 1.5,
            "log_frauds": math.log1p(len(bad)),
            "log_least_ratio": 2.0,
            "least_amount": 0.0,
            "log_least_explained": 2.5,
            "burst_of_least_explained": 0.0,
            "burst_of_first": 0.0,
        }
        if newest_run:
            told = [
                (o.ratio + min(o.burst, 6.0) / 2 + (5 if o.amount >= LARGE else 0), -o.burst)
                for o in newest_run
            ]
            least, burst = min(told)
            opening = [o.burst for o in newest_run if o.event_time == newest_run[0].event_time]
            row |= {
                "log_least_ratio": math.log(min(8.0, *(o.ratio for o in newest_run))),
                "least_amount": min(250.0, *(o.amount for o in newest_run)) / 100,
                "log_least_explained": math.log(min(max(least, 1.0), 12.0)),
                "burst_of_least_explained": min(-burst, 6.0) / 4,
                "burst_of_first": min(max(opening), 6.0) / 4,
            }

        # 5. Faded counts, as of the newest transaction known.
        newest = max((o.event_time for o in ring + folded), default=0)
        for tau in TAUS_DAYS:

            def faded(some: list[Label], tau: float = tau) -> float:
                return sum(math.exp(-(newest - o.event_time) / DAY / tau) for o in some)

            row[f"risk_{tau:.0f}d"] = faded(bad) / (faded(known) + 1)
            row[f"log_labels_{tau:.0f}d"] = math.log1p(faded(known))
        row["log_labels_1d"] -= 0.7
        row["log_labels_7d"] -= 1.5
        row["log_labels_30d"] -= 2.0
        assert row.keys() == set(PROFILE_FEATURES)
        return [row[name] for name in PROFILE_FEATURES]

    @staticmethod
    def run_up_to(
        last: int | None, frauds: list[Label], genuine: list[int]
    ) -> tuple[list[Label], int | None]:
        """Frauds up to `last`, oldest first, without a genuine one between; the one before them."""
        if last is None:
            return [], None
        before = max((time for time in genuine if time < last), default=None)
        run = [o for o in frauds if before is None or o.event_time > before]
        return sorted(run, key=age_of), before


def read(profiles, now: int):  # type: ignore[no-untyped-def]
    time = np.full(len(profiles), now, np.int64)
    return profile_features(summarise(profiles, LARGE, time), time)


def in_order(profiles) -> list[bytes]:  # type: ignore[no-untyped-def]
    """Each profile with its ring sorted: what is known, without where it stands."""
    sorted_ = profiles.copy()
    for row in sorted_:
        apart = ("tx", "event_time", "labelled_at", "verdict")
        for part, names in (("ring", LABEL.names or ()), ("amendable", apart)):
            used = int(row[f"{part}_used"])
            order = np.argsort(row[f"{part}_tx"][:used], kind="stable")
            for name in names:
                row[f"{part}_{name}"][:used] = row[f"{part}_{name}"][:used][order]
    return [row.tobytes() for row in sorted_]


@settings(max_examples=100, deadline=None)
@given(streams, cuts, moments)
def test_one_label_at_a_time_in_plain_python_agrees(
    stream: list[Label], where: list[int], now: int
) -> None:
    terminals = [Terminal() for _ in range(TERMINALS)]
    expected_fates = [terminals[label.terminal].apply(label) for label in stream]
    profiles, fates = run(stream, where)
    assert fates == expected_fates
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
@given(labels(RING).map(distinct) | crowded().map(agreed), st.data())
def test_repeating_a_label_changes_nothing(stream: list[Label], data: st.DataObject) -> None:
    again: list[Label] = []
    for place, label in enumerate(stream):
        again.append(label)
        if data.draw(st.booleans()):
            again.append(stream[data.draw(st.integers(0, place))])
    assert run(again)[0].tobytes() == run(stream)[0].tobytes()


@settings(max_examples=60, deadline=None)
@given(streams)
def test_labels_that_counted_say_the_same_in_order_of_their_transactions(
    stream: list[Label],
) -> None:
    once = agreed(stream)
    profiles, fates = run(once)
    counted = [label for label, fate in zip(once, fates, strict=True) if fate == COUNTED]
    counted.sort(key=age_of)
    again, fates = run(counted)
    assert not any(fates)
    # The counts differ in their last bits, because they were added in another order.
    for name in ("base_n", "base_f"):
        np.testing.assert_allclose(profiles[name], again[name], rtol=1e-12, atol=1e-12)
        again[name] = profiles[name]
    again["base_until"] = profiles["base_until"]  # which the others moved too
    assert in_order(profiles) == in_order(again)


@settings(max_examples=60, deadline=None)
@given(streams, moments, st.data())
def test_what_labels_say_after_a_moment_cannot_be_seen_at_that_moment(
    stream: list[Label], now: int, data: st.DataObject
) -> None:
    other = [
        label._replace(
            verdict=data.draw(st.sampled_from([FRAUD, GENUINE, WITHDRAWN])),
            amount=data.draw(st.sampled_from(AMOUNTS)),
            ratio=data.draw(st.sampled_from(RATIOS)),
        )
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
    one, two = run(stream)[0], run(shuffled)[0]
    assert in_order(one) == in_order(two)
    np.testing.assert_allclose(read(one, now), read(two, now), rtol=1e-5, atol=1e-6)


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

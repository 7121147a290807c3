"""Card features against one event at a time in plain Python, under any cut into batches."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.fraud.features import (
    CARD_FEATURES,
    LARGE_KEPT,
    LARGE_RATIO,
    card_features,
    large_before,
    new_card_state,
)
from models.fraud.sequences import plan_sequences

CARDS = 4


class Event(NamedTuple):
    card: int
    amount: float
    time: int
    terminal: int


def events(times: st.SearchStrategy[int]) -> st.SearchStrategy[list[Event]]:
    event = st.builds(
        Event,
        card=st.integers(0, CARDS - 1),
        amount=st.floats(0, 1e9) | st.floats(0, 300),
        time=times,
        terminal=st.integers(0, 2) | st.integers(0, 2**32 - 1),
    )
    return st.lists(event, max_size=40)


start = 1_700_000_000_000
ordinary = st.integers(0, 200_000_000_000) | st.integers(start, start + 7_200_000)
any_time = st.integers(-(2**63), 2**63 - 1)
cuts = st.lists(st.integers(0, 40), max_size=6)


@st.composite
def spenders(draw: st.DrawFn) -> list[Event]:
    """Two cards, every fifth amount of which is many times the others: their rings overflow."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(60, 500))
    amounts = rng.lognormal(2.0, 0.5, count) * rng.choice([1, 1, 1, 1, 20], count)
    times = start + rng.integers(0, 10**9, count)
    return [
        Event(int(card), float(amount), int(time), 0)
        for card, amount, time in zip(rng.integers(0, 2, count), amounts, times, strict=True)
    ]


@dataclass
class Card:
    """The reference: what a card knows, in the plainest way."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0
    last_time: int = 0
    last_terminal: int = 0
    large: list[tuple[int, float]] = field(default_factory=list)
    unsure: bool = False
    """An amount stood so near the limit that rounding decides."""

    def features(self, event: Event) -> list[float]:
        n, amount = self.count, event.amount
        weight = min(n, 200)
        usual = (self.mean * weight + 50) / (weight + 1)
        deviation = math.sqrt((self.variance * weight + 625) / (weight + 1))
        times = amount / usual
        gap = max(event.time - self.last_time, 0) / 1000 if n else 30 * 86_400
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=event.time)
        day = 2 * math.pi * (when.hour * 60 + when.minute) / 1440
        week = 2 * math.pi * when.weekday() / 7
        row = [
            math.log1p(amount) - 3.6,
            min(amount, 500) / 100 - 0.5,
            min(max((amount - usual) / deviation, -3), 15) / 3,
            min(math.log(max(times, 0.02)), 4),
            min(times, 8) / 2 - 0.5,
            math.log(usual) - 3.8,
            min(deviation / usual, 3) - 0.5,
            math.log1p(gap) / 4 - 2.5,
            gap < 60,
            gap < 3600,
            math.sin(day),
            math.cos(day),
            when.hour < 7,
            math.sin(week),
            math.cos(week),
            when.weekday() >= 5,
            n > 0 and event.terminal == self.last_terminal,
            math.log1p(n) / 4,
        ]
        if times >= LARGE_RATIO:
            self.large.append((event.time, min(times, 100.0)))
        self.unsure |= abs(times - LARGE_RATIO) < 1e-9
        counted = min(amount, 3 * usual) if n >= 3 else amount
        self.count += 1
        share = max(1 / self.count, 0.005)
        off = counted - self.mean
        self.variance = (1 - share) * (self.variance + share * off**2)
        self.mean += share * off
        self.last_time, self.last_terminal = event.time, event.terminal
        return [float(value) for value in row]


def run(stream: list[Event], where: list[int]):  # type: ignore[no-untyped-def]
    """Features in order of arrival and the state of all cards, over batches cut at `where`."""
    state = new_card_state(CARDS)
    out = [np.zeros((0, len(CARD_FEATURES)), np.float32)]
    edges = sorted({0, len(stream), *(place for place in where if place < len(stream))})
    for begin, end in pairwise(edges):
        batch = stream[begin:end]
        plan = plan_sequences(np.array([event.card for event in batch], np.int64))
        x, state[plan.rows] = card_features(
            plan,
            amount=np.array([event.amount for event in batch]),
            event_time=np.array([event.time for event in batch], np.int64),
            terminal=np.array([event.terminal for event in batch], np.uint32),
            state=state[plan.rows],
        )
        arrived = np.empty_like(x)
        arrived[plan.packed] = x
        out.append(arrived)
    return np.concatenate(out), state


@given(events(ordinary) | spenders(), cuts)
def test_one_event_at_a_time_in_plain_python_agrees(stream: list[Event], where: list[int]) -> None:
    cards = [Card() for _ in range(CARDS)]
    expected = [cards[event.card].features(event) for event in stream]
    x, state = run(stream, where)
    np.testing.assert_allclose(
        x, np.array(expected).reshape(-1, len(CARD_FEATURES)), rtol=2e-6, atol=2e-6
    )
    np.testing.assert_allclose(state["mean"], [card.mean for card in cards], rtol=1e-9)
    np.testing.assert_allclose(state["variance"], [card.variance for card in cards], rtol=1e-9)
    assert state["count"].tolist() == [card.count for card in cards]
    assert state["last_time"].tolist() == [card.last_time for card in cards]


@settings(max_examples=60, deadline=None)
@given(events(ordinary) | spenders(), st.lists(st.integers(0, 200), max_size=8))
def test_large_transactions_are_remembered_as_in_a_list_of_all(
    stream: list[Event], where: list[int]
) -> None:
    cards = [Card() for _ in range(CARDS)]
    for event in stream:
        cards[event.card].features(event)
    _, state = run(stream, where)
    for card, row in zip(cards, state, strict=True):
        if card.unsure:
            continue
        count = len(card.large)
        assert int(row["large_count"]) == count
        numbers = range(max(count - LARGE_KEPT, 0), count)
        places = [number % LARGE_KEPT for number in numbers]
        kept = [card.large[number] for number in numbers]
        assert row["large_time"][places].tolist() == [time for time, _ in kept]
        np.testing.assert_allclose(row["large_ratio"][places], [r for _, r in kept], rtol=1e-5)
        unused = np.setdiff1d(np.arange(LARGE_KEPT), places)
        assert not row["large_time"][unused].any()


@settings(max_examples=60, deadline=None)
@given(spenders(), st.integers(0, 400), st.integers(0, 500))
def test_what_was_large_before_a_transaction_is_told_from_anywhere_in_a_batch(
    stream: list[Event], cut: int, position: int
) -> None:
    cut = min(cut, len(stream) - 1)
    position = cut + position % (len(stream) - cut)
    cards = [Card() for _ in range(CARDS)]
    for event in stream[:position]:
        cards[event.card].features(event)
    card = cards[stream[position].card]
    _, state = run(stream[:cut], [])
    batch = stream[cut:]
    time = np.array([event.time for event in batch], np.int64)
    plan = plan_sequences(np.array([event.card for event in batch], np.int64))
    before = state[plan.rows]
    x, _ = card_features(
        plan,
        amount=np.array([event.amount for event in batch]),
        event_time=time,
        terminal=np.zeros(len(batch), np.uint32),
        state=before,
    )
    slot = int(np.flatnonzero(plan.packed == position - cut)[0])
    times, ratios = large_before(plan, before, x, time[plan.packed], slot)
    if card.unsure:
        return
    expected = card.large[-LARGE_KEPT:]
    assert times.tolist() == [time for time, _ in expected]
    np.testing.assert_allclose(ratios, [min(ratio, 50.0) for _, ratio in expected], rtol=1e-5)


@given(events(any_time) | spenders(), cuts)
def test_where_the_stream_is_cut_changes_not_one_bit(stream: list[Event], where: list[int]) -> None:
    whole, state = run(stream, [])
    parts, state_of_parts = run(stream, where)
    assert whole.tobytes() == parts.tobytes()
    assert state.tobytes() == state_of_parts.tobytes()


@given(events(any_time))
def test_whatever_comes_the_features_are_finite_and_small(stream: list[Event]) -> None:
    x, _ = run(stream, [])
    assert np.isfinite(x).all()
    assert (np.abs(x) < 20).all()

"""Live precision and recall out of alerts and verdicts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from streams.figures import DAY_MS, MOST_RULES, Figures, RuleTally, VerdictTally
from streams.schemas import ObjectLabel, TransactionLabel

T0 = 1_600_000_000_000


def said(tx: str, is_fraud: bool | None, *, day: int = 0, at: int = 1) -> TransactionLabel:
    time = T0 + day * DAY_MS
    return TransactionLabel(tx, "c", "m", 1.0, time, time + at * DAY_MS, is_fraud, "analyst")


def tally_of(steps: list[Any], **limits: Any) -> VerdictTally:
    tally = VerdictTally(28, **limits)
    for step in steps:
        if isinstance(step, str):
            tally.alert(step, T0)
        else:
            tally.verdict(step)
    return tally


STEPS = ["a", "b", "c", said("a", True), said("b", False), said("d", True), said("e", False)]


def test_without_alerts_and_verdicts_there_are_no_shares() -> None:
    figures = VerdictTally(28).figures()
    assert figures == Figures(0, 0, 0, 0)
    assert math.isnan(figures.precision)
    assert math.isnan(figures.recall)


def test_precision_is_of_judged_alerts_and_recall_of_known_frauds() -> None:
    figures = tally_of(STEPS).figures()
    assert figures == Figures(judged=2, right=1, frauds=2, caught=1)
    assert (figures.precision, figures.recall) == (0.5, 0.5)


def object_said(rule: str, number: int, is_true: bool | None, *, at: int = 1) -> ObjectLabel:
    alert = f"frames:0:{number}:7:{rule}"
    return ObjectLabel(alert, "yard", "person", T0 + at * DAY_MS, is_true, "analyst")


def test_object_alerts_are_counted_by_rule_with_the_last_word_on_each() -> None:
    tally = RuleTally(28)
    for label in (
        object_said("gate", 1, True),
        object_said("gate", 2, True),
        object_said("gate", 2, False, at=2),
        object_said("gate", 2, True),
        object_said("gate", 3, True),
        object_said("gate", 3, None, at=2),
        object_said("yard", 1, None),
    ):
        tally.verdict(label)
    assert tally.figures() == {"gate": (2, 1)}
    tally.verdict(object_said("yard", 2, False, at=30))
    assert tally.figures() == {"yard": (1, 0)}  # the others are too long ago


def test_verdicts_and_rules_beyond_what_is_remembered_go() -> None:
    tally = RuleTally(28, most=400)
    for number in range(1000):
        tally.verdict(object_said(f"rule-{number}", number, True))
    assert len(tally._verdicts) <= 400
    assert len(tally.figures()) == MOST_RULES


def test_the_order_in_which_they_come_does_not_matter() -> None:
    expected = tally_of(STEPS).figures()
    for steps in itertools.permutations(STEPS):
        assert tally_of(list(steps)).figures() == expected


def test_what_comes_twice_counts_once() -> None:
    assert tally_of(STEPS + STEPS).figures() == tally_of(STEPS).figures()


@pytest.mark.parametrize("first_alert", [True, False])
def test_a_verdict_may_change_its_mind(first_alert: bool) -> None:
    words = [said("a", True), said("a", None, at=2), said("a", False, at=3), said("a", True, at=2)]
    steps = ["a", *words] if first_alert else [*words, "a"]
    assert tally_of(steps).figures() == Figures(judged=1, right=0, frauds=0, caught=0)
    assert tally_of(steps[:2] if not first_alert else steps[:3]).figures().frauds == 0


def test_a_withdrawn_verdict_judges_nothing() -> None:
    figures = tally_of(["a", said("a", True), said("a", None, at=2)]).figures()
    assert figures == Figures(0, 0, 0, 0)


def test_the_window_ends_at_the_newest_transaction_with_a_verdict() -> None:
    tally = tally_of(STEPS)
    tally.verdict(said("z", True, day=27))
    assert tally.figures().frauds == 3
    tally.verdict(said("y", True, day=29))
    assert tally.figures() == Figures(judged=0, right=0, frauds=2, caught=0)
    tally.verdict(said("x", True, day=0))  # late: before the window
    assert tally.figures().frauds == 2


def test_memory_is_bounded() -> None:
    tally = tally_of([], most=100, early=50)
    for number in range(1000):
        tally.alert(f"a{number}", T0)
        tally.verdict(said(f"f{number}", True))
        tally.verdict(said(f"g{number}", False))
    assert len(tally._alerts) <= 100
    assert len(tally._verdicts) <= 100
    assert len(tally._early) <= 50

"""Checks that nothing computed over a history has seen labels, or events, before their time.

They take any function of a history, so that one set of checks serves every kind of inputs. All
times are ms since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.evaluation import average_precision
from models.fraud.transactions import Transactions

Inputs = Callable[[Transactions], npt.NDArray[Any]]
"""A history of N transactions to N rows, any number of columns."""

Scorer = Callable[[Transactions, float], npt.NDArray[Any]]
"""A history and the delay of its labels in days to (N,) scores."""


def with_labels(history: Transactions, is_fraud: npt.NDArray[np.bool_]) -> Transactions:
    """Other verdicts and nothing else; the scenario, which nobody may read, goes too."""
    return replace(history, is_fraud=is_fraud, scenario=np.zeros(len(history), np.int8))


def shuffled(history: Transactions, seed: int, *, since_ms: int | None = None) -> Transactions:
    """The verdicts of transactions after `since_ms`, or of all, dealt out anew among them."""
    after = np.ones(len(history), np.bool_)
    if since_ms is not None:
        after = history.event_time > since_ms
    labels = history.is_fraud.copy()
    labels[after] = np.random.default_rng(seed).permutation(labels[after])
    return with_labels(history, labels)


def assert_young_labels_change_nothing(
    inputs: Inputs, history: Transactions, at_ms: int, label_delay_ms: int
) -> None:
    """Labels that are unknown at `at_ms`, those to come included, reach later rows alone."""
    other = shuffled(history, 0, since_ms=at_ms - label_delay_ms)
    assert (other.is_fraud != history.is_fraud).any(), "nothing was shuffled: choose another time"
    before, after = inputs(history), inputs(other)
    past = history.event_time <= at_ms
    np.testing.assert_array_equal(before[past], after[past])
    assert (before[~past] != after[~past]).any(), "labels reach no row at all"


def assert_the_future_changes_nothing(inputs: Inputs, history: Transactions, at_ms: int) -> None:
    """Rows up to `at_ms` are the same when nothing has come after it yet."""
    past = np.flatnonzero(history.event_time <= at_ms)
    assert 0 < len(past) < len(history), "nothing was hidden: choose another time"
    np.testing.assert_array_equal(inputs(history)[past], inputs(history.take(past)))


def assert_shuffled_labels_teach_nothing(
    scorer: Scorer, history: Transactions, judged: npt.NDArray[np.bool_], label_delay_days: float
) -> None:
    """From labels dealt out at random, the scores of frauds are as good as anybody's guess."""
    truth = history.is_fraud[judged]
    honest = average_precision(truth, scorer(history, label_delay_days)[judged])
    drawn = [
        average_precision(truth, scorer(shuffled(history, seed), label_delay_days)[judged])
        for seed in range(3)
    ]
    base = truth.mean()
    assert honest > 2 * base, "the true labels teach nothing either"
    assert np.mean(drawn) < base + 0.2 * (honest - base)


def assert_early_labels_help(
    scorer: Scorer, history: Transactions, judged: npt.NDArray[np.bool_], label_delay_days: float
) -> None:
    """Labels before their time raise the score: the delay is really there."""
    truth = history.is_fraud[judged]
    honest = average_precision(truth, scorer(history, label_delay_days)[judged])
    early = average_precision(truth, scorer(history, 0.0)[judged])
    assert early > honest + 0.02

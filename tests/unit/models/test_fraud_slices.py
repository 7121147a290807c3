from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.fraud.evaluation import average_precision, roc_auc
from models.fraud.slices import card_activity, measure_slices
from models.fraud.transactions import Transactions

DAY_MS = 86_400_000


def test_nothing_has_no_slices() -> None:
    assert measure_slices(np.zeros(0, np.bool_), np.zeros(0), np.zeros(0), 0.5) == []


def test_slices_cover_everything_in_parts_of_like_size() -> None:
    rng = np.random.default_rng(1)
    truth, scores, amount = rng.random(1000) < 0.1, rng.random(1000), rng.random(1000) * 90
    found = measure_slices(truth, scores, amount, 0.8, parts=10)
    assert [part.count for part in found] == [100] * 10
    assert sum(part.frauds for part in found) == truth.sum()
    assert all(one.high < two.low for one, two in pairwise(found))
    rows = (amount >= found[3].low) & (amount <= found[3].high)
    assert found[3].auc == roc_auc(truth[rows], scores[rows])
    assert found[3].ap == average_precision(truth[rows], scores[rows])
    alerts = scores[rows] >= 0.8
    assert found[3].alert_rate == alerts.mean()
    assert found[3].precision == truth[rows][alerts].mean()
    assert found[3].recall == alerts[truth[rows]].mean()


def test_equal_values_stay_together() -> None:
    value = np.repeat([1, 2, 9], [50, 10, 40])
    found = measure_slices(np.zeros(100, np.bool_), np.zeros(100), value, 0.5, parts=4)
    spans = [(part.low, part.high) for part in found]
    assert sum(part.count for part in found) == 100
    assert all(one[1] < two[0] for one, two in pairwise(spans))


def test_measures_without_a_meaning_are_not_a_number() -> None:
    (part,) = measure_slices(np.zeros(3, np.bool_), np.zeros(3), np.ones(3), 0.5)
    assert part.alert_rate == 0.0
    assert np.isnan([part.auc, part.ap, part.precision, part.recall]).all()


@pytest.mark.parametrize("size", [0, 300])
def test_activity_counts_the_card_s_month_before(size: int) -> None:
    rng = np.random.default_rng(2)
    time = np.sort(rng.integers(0, 90 * DAY_MS, size)) + 400 * DAY_MS
    cards = rng.integers(0, 5, size)
    zeros = np.zeros(size)
    history = Transactions(
        np.arange(size), cards, cards, zeros, time, zeros.astype(bool), zeros.astype(np.int8)
    )
    expected = [
        int(((cards[:row] == cards[row]) & (time[:row] > time[row] - 30 * DAY_MS)).sum())
        for row in range(size)
    ]
    assert card_activity(history).tolist() == expected

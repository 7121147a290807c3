"""What a risk manager asks, on a history whose scores are planted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.fraud.evaluation import Fold
from models.fraud.findings import ALERTS_PER_DAY, findings
from models.fraud.simulator import DAY_MS, SimulatorConfig, simulate
from models.fraud.transactions import Transactions

WORLD = SimulatorConfig(
    customers=250,
    terminals=300,
    radius=15.0,
    seed=3,
    start="2018-07-01",
    compromised_terminals=1,
    compromised_cards=1,
)
STARTS = ("2018-08-08", "2018-08-01")
BUDGET = 7 * ALERTS_PER_DAY


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 60)


@pytest.fixture(scope="module")
def folds(history: Transactions) -> list[Fold]:
    return [Fold.of(history, start) for start in STARTS]


def scores_of(history: Transactions, fold: Fold, scale: float = 1.0) -> np.ndarray:
    """(N,) frauds on top, the rest noise below them; nan after the test week."""
    noise = np.random.default_rng(0).random(len(history))
    scores = (scale * (0.4 * noise + 0.5 * history.is_fraud)).astype(np.float32)
    scores[fold.rows[-1] + 1 :] = np.nan
    return scores


def test_right_scores_raise_their_alerts_in_each_slice(
    history: Transactions, folds: list[Fold]
) -> None:
    found = findings(history, folds, [scores_of(history, fold) for fold in folds])
    assert found["alerts_per_day"] == ALERTS_PER_DAY
    assert list(found["slices"]) == ["amount", "activity"]
    judged = sum(len(fold.rows) for fold in folds)
    for parts in found["slices"].values():
        assert sum(part["count"] for part in parts) == judged
        assert sum(part["frauds"] for part in parts) == sum(fold.truth.sum() for fold in folds)
        assert [part["low"] for part in parts] == sorted(part["low"] for part in parts)
        for part in parts:
            if part["frauds"]:
                assert part["auc"] == part["recall"] == 1.0
    json.dumps(found)  # a report is written of it


def test_the_threshold_of_each_fold_lets_its_budget_through(
    history: Transactions, folds: list[Fold]
) -> None:
    # One fold's scores are a tenth of the other's: one threshold for both would starve it.
    scores = [scores_of(history, folds[0]), scores_of(history, folds[1], 0.1)]
    found = findings(history, folds, scores)
    for parts in found["slices"].values():
        alerts = sum(part["alert_rate"] * part["count"] for part in parts)
        assert round(alerts) == 2 * BUDGET
        assert {part["recall"] for part in parts if part["frauds"]} == {1.0}
    frauds = sum(int(fold.truth.sum()) for fold in folds)
    assert 0 < frauds < 2 * BUDGET
    assert found["budget"] == {"precision": frauds / (2 * BUDGET), "recall": 1.0}


def test_calibration_is_that_of_the_judged_rows(history: Transactions, folds: list[Fold]) -> None:
    certain = [history.is_fraud.astype(np.float32) for _ in folds]
    perfect = findings(history, folds, certain)["calibration"]
    assert perfect["ece"] == perfect["brier"] == 0.0
    assert (perfect["score"], perfect["fraud_share"]) == ([0.0, 1.0], [0.0, 1.0])
    judged = sum(len(fold.rows) for fold in folds)
    assert sum(perfect["count"]) == judged

    share = float(np.concatenate([fold.truth for fold in folds]).mean())
    sure = [np.where(history.is_fraud, 0.0, 1.0).astype(np.float32) for _ in folds]
    assert findings(history, folds, sure)["calibration"]["brier"] == pytest.approx(1.0)
    half = [np.full(len(history), 0.5, np.float32) for _ in folds]
    calibration = findings(history, folds, half)["calibration"]
    assert calibration["ece"] == pytest.approx(0.5 - share)
    assert calibration["brier"] == pytest.approx(0.25)


def labelled_in_the_week_of(history: Transactions, fold: Fold) -> dict[int, int]:
    """Terminals whose first fraud is labelled in a test week and paid at after; when it was."""
    begin, end = history.event_time[fold.rows[[0, -1]]].tolist()
    first: dict[int, int] = {}
    for terminal, time in zip(
        history.terminal_id[history.is_fraud].tolist(),
        history.event_time[history.is_fraud].tolist(),
        strict=True,
    ):
        first.setdefault(terminal, time + 7 * DAY_MS)
    return {
        terminal: label
        for terminal, label in first.items()
        if label >= begin
        and any(
            label <= time <= end
            for time in history.event_time[history.terminal_id == terminal].tolist()
        )
    }


def test_the_delay_counts_terminals_whose_first_label_comes_in_a_test_week(
    history: Transactions, folds: list[Fold]
) -> None:
    fold = folds[0]
    expected = labelled_in_the_week_of(history, fold)
    assert len(expected) > 3
    begin, end = history.event_time[fold.rows[[0, -1]]].tolist()
    # Each but one raises an alert with its first payment from two days after the label on.
    silent = next(iter(expected))
    scores = np.zeros(len(history), np.float32)
    days = []
    for terminal, label in expected.items():
        later = np.flatnonzero(
            (history.terminal_id == terminal)
            & (history.event_time >= label + 2 * DAY_MS)
            & (history.event_time <= end)
        )
        if terminal != silent and len(later):
            scores[later[0]] = 1.0
            days.append((history.event_time[later[0]] - label) / DAY_MS)
    # Alerts before the week do not count; what is left of the week's budget goes elsewhere.
    scores[history.event_time < begin] = 1.0
    spent = np.flatnonzero(scores[fold.rows] > 0)
    others = [
        row
        for row in fold.rows.tolist()
        if scores[row] == 0 and int(history.terminal_id[row]) not in expected
    ]
    scores[others[: BUDGET - len(spent)]] = 1.0

    delay = findings(history, [fold], [scores])["delay"]
    assert delay["terminals"] == len(expected)
    assert delay["alerted"] == len(days) > 0
    assert delay["median_days"] == pytest.approx(np.median(days))
    assert delay["within"]["1d"] == 0.0
    for step in (3, 7):
        share = sum(one <= step for one in days) / len(expected)
        assert delay["within"][f"{step}d"] == pytest.approx(share)


def test_where_no_terminal_is_labelled_nothing_is_delayed(history: Transactions) -> None:
    fold = Fold.of(history, STARTS[0])
    # A terminal apiece: no other payment comes after the label of a fraud.
    alone = Transactions(
        **{
            name: getattr(history, name)
            for name in ("tx_id", "card_id", "amount", "event_time", "is_fraud", "scenario")
        },
        terminal_id=np.arange(len(history)),
    )
    delay = findings(alone, [fold], [scores_of(history, fold)])["delay"]
    assert delay == {
        "terminals": 0,
        "alerted": 0,
        "median_days": None,
        "within": {"1d": None, "3d": None, "7d": None},
    }

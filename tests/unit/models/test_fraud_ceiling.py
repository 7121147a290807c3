from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from models.fraud.ceiling import ceiling, ceilings, oracle_scores
from models.fraud.evaluation import TEST_STARTS, Fold
from models.fraud.simulator import DAY_MS, SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from streams.producers.files import column_map, read_transactions

WORLD = SimulatorConfig(customers=300, terminals=400, radius=15.0, seed=6, start="2018-06-01")
START = "2018-07-25"


def frauds(*rows: tuple[float, int, int]) -> Transactions:
    """(day, terminal, scenario)."""
    day, terminal, scenario = (np.array(column) for column in zip(*rows, strict=True))
    return Transactions(
        tx_id=np.arange(len(rows)),
        card_id=np.arange(len(rows)),
        terminal_id=terminal,
        amount=np.ones(len(rows)),
        event_time=(day * DAY_MS).astype(np.int64),
        is_fraud=scenario > 0,
        scenario=scenario.astype(np.int8),
    )


def test_the_oracle_of_nothing_says_nothing() -> None:
    assert oracle_scores(frauds((0, 1, 0)).take(slice(0, 0))).shape == (0,)


def test_amounts_and_cards_are_known_at_once_and_genuine_payments_never() -> None:
    assert oracle_scores(frauds((0, 1, 1), (1, 2, 3), (2, 3, 0))).tolist() == [1, 1, 0]


def test_a_terminal_is_known_a_week_after_the_first_fraud_of_its_attack() -> None:
    history = frauds(
        (0, 1, 2),
        (6.9, 1, 2),
        (7, 1, 2),  # the first label arrives
        (8, 2, 2),  # another terminal
        (60, 1, 2),  # a new attack, from scratch
        (67, 1, 0),  # genuine payments are genuine wherever they are made
        (67.5, 1, 2),
    )
    assert oracle_scores(history).tolist() == [0, 0, 1, 0, 0, 0, 1]


def test_a_card_s_fraud_does_not_give_its_terminal_away() -> None:
    assert oracle_scores(frauds((0, 1, 3), (10, 1, 2))).tolist() == [1, 0]


def test_data_without_scenarios_is_refused() -> None:
    history = frauds((0, 1, 1))
    with pytest.raises(DataError, match="TX_FRAUD_SCENARIO"):
        oracle_scores(replace(history, scenario=np.zeros(1, np.int8)))


def test_with_every_fraud_known_the_ceiling_is_perfect() -> None:
    history = simulate(WORLD, 80)
    fold = Fold.of(history, START)
    found = ceiling(fold, history.is_fraud.astype(np.float64))
    assert (found["auc"], found["ap"]) == (1.0, 1.0)
    below = ceiling(fold, oracle_scores(history))
    assert below["ap"] < 1.0
    assert below["cp100"] <= found["cp100"]


@pytest.mark.slow
def test_the_ceiling_of_the_public_data(handbook: Path) -> None:
    history = read_transactions(handbook, column_map(""), verdicts=True)
    folds = [Fold.of(history, start) for start in TEST_STARTS]
    found = ceilings(history, folds)
    assert [fold["ap"] for fold in found["folds"]] == pytest.approx(
        [0.755, 0.803, 0.766, 0.790], abs=0.003
    )
    assert found["auc"] == pytest.approx(0.886, abs=0.0005)
    assert found["ap"] == pytest.approx(0.779, abs=0.001)
    assert found["cp100"] == pytest.approx(0.311, abs=0.002)

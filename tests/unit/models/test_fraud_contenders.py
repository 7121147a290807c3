"""Champion and challenger meet on the latest labelled days, and on nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from models.errors import DataError
from models.fraud import contenders
from models.fraud.contenders import judge_contenders
from models.fraud.dataset import DAY_MS, UNLABELLED, Dataset, verdict_times
from models.fraud.network import FraudNetwork, FraudNetworkConfig
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions

WORLD = SimulatorConfig(
    customers=60, terminals=60, radius=30.0, seed=4, compromised_terminals=1, compromised_cards=1
)
DAYS = 24
Says = Callable[[Dataset], np.ndarray]


class Network:
    """Says what it is told to; only its config is asked for."""

    def __init__(self, says: Says, large_amount: float = 220.0) -> None:
        self.says, self.config = says, FraudNetworkConfig(large_amount=large_amount)


def network(says: Says, large_amount: float = 220.0) -> FraudNetwork:
    return cast("FraudNetwork", Network(says, large_amount))


def right(data: Dataset) -> np.ndarray:
    return data.transactions.is_fraud.astype(np.float32)


def wrong(data: Dataset) -> np.ndarray:
    return 1.0 - right(data)


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, DAYS)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """Networks of this file score; their inputs are kept here."""
    given: list[Dataset] = []

    def scores(one: Network, data: Dataset) -> np.ndarray:
        given.append(data)
        return one.says(data)

    monkeypatch.setattr(contenders, "offline_scores", scores)
    return given


@pytest.mark.usefixtures("told")
def test_the_better_network_has_the_higher_figures(history: Transactions) -> None:
    found = judge_contenders(
        {"champion": network(wrong), "challenger": network(right)},
        history,
        verdict_times(history.event_time),
        7,
    )
    assert found["challenger_auc"] == found["challenger_ap"] == 1.0
    assert found["champion_auc"] == 0.0
    assert found["champion_ap"] < 0.5
    assert set(found) == {
        "champion_auc", "champion_ap", "challenger_auc", "challenger_ap", "judged"
    }  # fmt: skip


@pytest.mark.usefixtures("told")
def test_the_latest_labelled_days_alone_judge(history: Transactions) -> None:
    clock = history.event_time
    labelled_at = verdict_times(clock)
    unlabelled = clock >= clock[0] + 20 * DAY_MS
    labelled_at[unlabelled] = UNLABELLED
    newest = clock[~unlabelled].max()
    week = ~unlabelled & (clock > newest - 7 * DAY_MS)

    def right_then(data: Dataset) -> np.ndarray:
        """Right in the week that counts, wrong before and after it."""
        return np.where(week, right(data), wrong(data))

    found = judge_contenders({"one": network(right_then)}, history, labelled_at, 7)
    assert found["one_ap"] == 1.0
    assert found["judged"] == week.sum()
    # A longer time takes in days on which it was wrong.
    longer = judge_contenders({"one": network(right_then)}, history, labelled_at, 10)
    assert longer["one_ap"] < 1.0
    assert longer["judged"] > week.sum()


@pytest.mark.usefixtures("told")
def test_what_has_no_verdict_judges_nobody(history: Transactions) -> None:
    labelled_at = verdict_times(history.event_time)
    unknown = np.random.default_rng(0).random(len(history)) < 0.5
    unknown[-1] = False
    labelled_at[unknown] = UNLABELLED

    def right_where_known(data: Dataset) -> np.ndarray:
        return np.where(unknown, wrong(data), right(data))

    found = judge_contenders({"one": network(right_where_known)}, history, labelled_at, 7)
    assert found["one_ap"] == 1.0
    week = history.event_time > history.event_time[-1] - 7 * DAY_MS
    assert found["judged"] == (week & ~unknown).sum() < week.sum()


def test_each_is_served_the_whole_history_with_its_own_idea_of_a_large_amount(
    history: Transactions, told: list[Dataset]
) -> None:
    labelled_at = verdict_times(history.event_time)
    both = {"champion": network(right, 100.0), "challenger": network(right, 200.0)}
    judge_contenders(both, history, labelled_at, 7)
    assert [data.large_amount for data in told] == [100.0, 200.0]
    assert [len(data) for data in told] == [len(history)] * 2
    assert (told[0].risk != told[1].risk).any()


def test_a_real_network_is_judged_too(history: Transactions) -> None:
    one = FraudNetwork(FraudNetworkConfig(hidden=4, head=8)).eval()
    found = judge_contenders({"one": one}, history, verdict_times(history.event_time), 7)
    assert 0.0 <= found["one_auc"] <= 1.0


@pytest.mark.parametrize("outcome", [False, True])
def test_a_week_of_one_outcome_compares_nobody(history: Transactions, outcome: bool) -> None:
    same = replace(history, is_fraud=np.full(len(history), outcome))
    with pytest.raises(DataError, match=r"the latest 7 labelled days have not both .* wait"):
        judge_contenders({"one": network(right)}, same, verdict_times(history.event_time), 7)


def test_without_any_label_nobody_is_compared(history: Transactions) -> None:
    never = np.full(len(history), UNLABELLED)
    with pytest.raises(DataError, match="have not both"):
        judge_contenders({"one": network(right)}, history, never, 7)

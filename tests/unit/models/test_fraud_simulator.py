from dataclasses import fields, replace
from itertools import islice

import numpy as np
import pytest

from models.errors import DataError
from models.fraud.simulator import DAY_MS, Simulator, SimulatorConfig, simulate
from streams.producers.transactions import world

SMALL = SimulatorConfig(customers=300, terminals=600, radius=10.0, seed=3)


def test_a_world_without_customers_is_quiet() -> None:
    assert len(simulate(replace(SMALL, customers=0), 2)) == 0


def test_a_world_without_terminals_in_reach_is_quiet() -> None:
    assert len(simulate(replace(SMALL, radius=0.0), 2)) == 0


def test_the_same_seed_gives_the_same_days_and_another_seed_others() -> None:
    one, two, other = simulate(SMALL, 5), simulate(SMALL, 5), simulate(replace(SMALL, seed=4), 5)
    for field in fields(one):
        assert (getattr(one, field.name) == getattr(two, field.name)).all()
    assert len(one) != len(other) or (one.amount != other.amount).any()


def test_days_are_a_prefix_of_more_days_and_can_be_asked_for_again() -> None:
    simulator = Simulator(SMALL)
    first, second = (list(islice(simulator.days(), 3)) for _ in range(2))
    whole = simulate(SMALL, 6)
    for days in (first, second):
        assert np.concatenate([day.amount for day in days]).tolist() == (
            whole.amount[: sum(map(len, days))].tolist()
        )


def test_transactions_stand_in_order_of_time_each_in_its_day_with_rising_ids() -> None:
    for number, day in enumerate(islice(Simulator(SMALL).days(), 4)):
        assert (np.diff(day.event_time) >= 0).all()
        since = day.event_time - 1_522_540_800_000 - number * DAY_MS  # 2018-04-01
        assert since.min() > 0
        assert since.max() < DAY_MS
    assert simulate(SMALL, 4).tx_id.tolist() == list(range(len(simulate(SMALL, 4))))


def test_customers_buy_about_twice_a_day_for_about_fifty() -> None:
    rows = simulate(SMALL, 30)
    genuine = rows.take(~rows.is_fraud)
    assert len(rows) / (300 * 30) == pytest.approx(2 * 0.97, rel=0.1)
    assert genuine.amount.mean() == pytest.approx(53, rel=0.1)
    assert (rows.amount >= 0).all()
    assert np.allclose(rows.amount, rows.amount.round(2))


def test_all_large_amounts_are_fraud() -> None:
    rows = simulate(SMALL, 60)
    assert rows.is_fraud[rows.amount > 220].all()
    assert ((rows.scenario > 0) == rows.is_fraud).all()


def test_a_compromised_terminal_takes_nothing_but_fraud_for_weeks() -> None:
    quiet = replace(SMALL, compromised_cards=0)
    rows = simulate(replace(quiet, compromised_terminals=1), 40)
    struck = rows.terminal_id[rows.scenario == 2][0]
    at = rows.terminal_id == struck
    first = rows.event_time[at & rows.is_fraud].min()
    during = at & (rows.event_time >= first) & (rows.event_time < first + 26 * DAY_MS)
    assert rows.is_fraud[during].all()
    assert not (rows.scenario[at & (rows.event_time < first)] == 2).any()


def test_a_compromised_card_pays_five_times_as_much_about_every_third_time() -> None:
    quiet = replace(SMALL, compromised_terminals=0)
    before = simulate(replace(quiet, compromised_cards=0), 1)
    after = simulate(replace(quiet, compromised_cards=300), 1)
    drained = after.scenario == 3
    assert len(before) == len(after)
    assert drained.mean() == pytest.approx(1 / 3, abs=0.08)
    assert np.allclose(after.amount, before.amount * np.where(drained, 5, 1), atol=0.01)


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="write it as 2018-04-01"):
        Simulator(replace(SMALL, start="yesterday"))


def test_less_than_one_compromised_a_day_is_one_every_few_days_from_the_first_on() -> None:
    world = replace(SMALL, compromised_terminals=0.25, compromised_cards=0)
    simulator, known = Simulator(world), set[int]()
    came = []
    for number, day in enumerate(islice(simulator.days(), 13)):
        bad = set(day.terminal_id[day.scenario == 2].tolist())
        came += [number] * bool(bad - known)
        known |= bad
    assert came[0] == 0
    assert 2 <= len(came) <= 4


@pytest.mark.parametrize("customers", [300, 1200, 5000])
def test_a_world_of_any_size_has_the_books_share_of_fraud(customers: int) -> None:
    sized = world(customers=customers, terminals=2 * customers, start="2018-04-01", seed=0)
    assert simulate(sized, 40).is_fraud.mean() == pytest.approx(0.0075, rel=0.2)

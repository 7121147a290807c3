"""The offline pass must be what serving would have computed, whatever the batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.fraud.dataset import DAY_MS, build, offline_scores
from models.fraud.features import card_features, new_card_state, terminal_hash
from models.fraud.network import load_fraud
from models.fraud.profile import (
    apply_labels,
    new_profiles,
    profile_features,
    summarise,
    tx_hash,
)
from models.fraud.sequences import plan_sequences
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions

# Few terminals, so that each has several labels a day and its ring overflows.
WORLD = SimulatorConfig(
    customers=60, terminals=60, radius=20.0, seed=5, compromised_terminals=1, compromised_cards=1
)
DELAY_DAYS = 3


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 50)


def served(history: Transactions, splits: np.random.Generator) -> np.ndarray:
    """Scores of a worker that gets transactions and labels in batches of any size."""
    network, _ = load_fraud()
    cards, number = history.card_codes()
    terminals, places = history.terminal_codes()
    hidden, state, profiles = torch.zeros(number, 64), new_card_state(number), new_profiles(places)
    labelled_at = history.event_time + DELAY_DAYS * DAY_MS
    tx = np.array([tx_hash(str(one)) for one in history.tx_id.tolist()], np.uint64)
    hashes = np.array([terminal_hash(str(one)) for one in history.terminal_id.tolist()], np.uint32)
    scores = np.zeros(len(history), np.float32)
    begin = labelled = 0
    while begin < len(history):
        batch = slice(begin, min(begin + int(splits.integers(1, 120)), len(history)))
        ahead = int(splits.integers(0, DAY_MS // 2))  # the labels agent may be ahead of this one
        known = int(np.searchsorted(labelled_at, history.event_time[batch.stop - 1] + ahead))
        while labelled < known:
            fresh = slice(labelled, min(labelled + int(splits.integers(1, 100)), known))
            plan = plan_sequences(terminals[fresh])
            profiles[plan.rows], _ = apply_labels(
                plan,
                tx=tx[fresh],
                event_time=history.event_time[fresh],
                labelled_at=labelled_at[fresh],
                verdict=history.is_fraud[fresh].astype(np.int8),
                profiles=profiles[plan.rows],
            )
            labelled = fresh.stop
        plan = plan_sequences(cards[batch])
        x, state[plan.rows] = card_features(
            plan,
            amount=history.amount[batch],
            event_time=history.event_time[batch],
            terminal=hashes[batch],
            state=state[plan.rows],
        )
        at, rows = plan.packed + begin, torch.from_numpy(plan.rows)
        time = history.event_time[at]
        risk = profile_features(summarise(profiles[terminals[at]], time), time)
        out, hidden[rows] = network.step(
            torch.from_numpy(x), torch.from_numpy(plan.sizes), hidden[rows], torch.from_numpy(risk)
        )
        scores[at] = out.numpy()
        begin = batch.stop
    return scores


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_offline_pass_equals_serving_over_any_batches(history: Transactions, seed: int) -> None:
    network, _ = load_fraud()
    offline = offline_scores(network, build(history, DELAY_DAYS))
    online = served(history, np.random.default_rng(seed))
    np.testing.assert_allclose(offline, online, rtol=0, atol=1e-5)
    assert offline.std() > 0.05


def test_a_history_without_transactions_has_no_scores() -> None:
    data = build(simulate(replace(WORLD, customers=0), 1))
    network, _ = load_fraud()
    assert offline_scores(network, data).shape == (0,)


def test_without_labels_the_profile_stays_empty(history: Transactions) -> None:
    rows = history.take(slice(0, 500))
    assert (np.ptp(build(rows, None).risk[:, [3, 4, 5, 12, 13, 14]], axis=0) == 0).all()


def test_a_verdict_younger_than_its_delay_is_not_an_input(history: Transactions) -> None:
    at = int(history.event_time[0]) + 30 * DAY_MS
    young = history.event_time > at - DELAY_DAYS * DAY_MS
    lied = replace(history, is_fraud=history.is_fraud ^ young)
    one, two = build(history, DELAY_DAYS), build(lied, DELAY_DAYS)
    before = history.event_time <= at
    assert (one.risk[before] == two.risk[before]).all()
    assert (one.risk[~before] != two.risk[~before]).any()
    assert (one.x == two.x).all()


def test_names_that_are_text_give_the_same_inputs_as_numbers(history: Transactions) -> None:
    few = history.take(slice(0, 3000))
    text = replace(
        few,
        tx_id=few.tx_id.astype(str).astype(object),
        card_id=few.card_id.astype(str).astype(object),
        terminal_id=few.terminal_id.astype(str).astype(object),
    )
    one, two = build(few, DELAY_DAYS), build(text, DELAY_DAYS)
    assert (one.x == two.x).all()
    assert (one.risk == two.risk).all()

"""The offline pass must be what serving would have computed, whatever the batches."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from models.fraud.dataset import (
    DAY_MS,
    UNLABELLED,
    build,
    large_amount,
    offline_scores,
    verdict_times,
)
from models.fraud.evidence import with_evidence
from models.fraud.features import LARGE_RATIO, card_features, new_card_state, terminal_hash
from models.fraud.network import FraudNetwork, FraudNetworkConfig
from models.fraud.profile import (
    FRAUD,
    GENUINE,
    LABEL,
    PROFILE_FEATURES,
    RING,
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
# So many that no ring overflows.
ROOMY = replace(WORLD, terminals=600, compromised_terminals=8)
DELAY_DAYS = 3
LARGE = 180.0


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 50)


@pytest.fixture(scope="module")
def roomy() -> Transactions:
    return simulate(ROOMY, 50)


@pytest.fixture(scope="module")
def network() -> FraudNetwork:
    """Random weights, learned rows among them, of which every input moves the score."""
    torch.manual_seed(4)
    network = FraudNetwork(FraudNetworkConfig(hidden=16, head=32, large_amount=LARGE))
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(2.0)
        network.rows.weight.normal_(0.0, 0.3)
        network.out.bias.zero_()
    network.measure(torch.linspace(-3.0, 3.0, 1000))
    return network.eval()


@dataclass
class Serving:
    """How a worker gets its labels: a day's before its transactions, or whenever."""

    splits: np.random.Generator
    labels: str = "both"
    lockstep: bool = False


def times_of(history: Transactions, labels: str = "both") -> np.ndarray:
    """When each verdict becomes known, after `DELAY_DAYS`; of genuine ones perhaps never."""
    known = verdict_times(history.event_time, DELAY_DAYS)
    return known if labels == "both" else np.where(history.is_fraud, known, UNLABELLED)


def served(history: Transactions, network: FraudNetwork, how: Serving) -> np.ndarray:
    """Scores of a worker that gets transactions and labels in batches of any size.

    Out of lockstep the labels agent may be ahead of the fraud agent or behind, by less than a day,
    and takes what cards say from where the fraud agent just is.
    """
    splits = how.splits
    cards, number = history.card_codes()
    terminals, places = history.terminal_codes()
    time = history.event_time
    hidden, state, profiles = torch.zeros(number, 16), new_card_state(number), new_profiles(places)
    verdicts = np.zeros(len(history), LABEL)
    verdicts["tx"] = [tx_hash(str(one)) for one in history.tx_id.tolist()]
    verdicts["event_time"], verdicts["labelled_at"] = time, time + DELAY_DAYS * DAY_MS
    verdicts["amount"] = history.amount
    verdicts["verdict"] = np.where(history.is_fraud, FRAUD, GENUINE)
    given = np.flatnonzero(history.is_fraud | (how.labels == "both"))
    known_at = verdicts["labelled_at"][given]
    hashes = np.array([terminal_hash(str(one)) for one in history.terminal_id.tolist()], np.uint32)
    scores = np.zeros(len(history), np.float32)
    begin = labelled = 0
    while begin < len(history):
        end = min(begin + int(splits.integers(1, 120)), len(history))
        midnight = int(np.searchsorted(time, (time[begin] // DAY_MS + 1) * DAY_MS))
        if how.lockstep:
            end, until = min(end, midnight), (time[begin] // DAY_MS + 1) * DAY_MS - 1
        else:
            end = min(end, int(np.searchsorted(time, time[begin] + DAY_MS // 2)))
            until = time[end - 1] + int(splits.integers(0, DAY_MS // 3))
        batch = slice(begin, end)
        known = int(np.searchsorted(known_at, until, side="right"))
        while labelled < known:
            fresh = given[labelled : min(labelled + int(splits.integers(1, 100)), known)]
            plan = plan_sequences(terminals[fresh])
            new = with_evidence(verdicts[fresh], state[cards[fresh]])
            profiles[plan.rows], _ = apply_labels(plan, new, profiles[plan.rows])
            labelled += len(fresh)
        plan = plan_sequences(cards[batch])
        x, state[plan.rows] = card_features(
            plan,
            amount=history.amount[batch],
            event_time=time[batch],
            terminal=hashes[batch],
            state=state[plan.rows],
        )
        at, rows = plan.packed + begin, torch.from_numpy(plan.rows)
        summary = summarise(profiles[terminals[at]], network.config.large_amount, time[at])
        risk = torch.from_numpy(profile_features(summary, time[at]))
        out, hidden[rows] = network.step(
            torch.from_numpy(x), torch.from_numpy(plan.sizes), hidden[rows], risk
        )
        scores[at] = out.numpy()
        begin = end
    return scores


def most_labels(risk: np.ndarray) -> float:
    """The most labels that any profile counted."""
    (logs,) = risk.T[[PROFILE_FEATURES.index("log_labels")]]
    return float(np.expm1((logs.max() + 1.5) * 2))


@pytest.mark.parametrize("labels", ["both", "frauds"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_offline_pass_equals_serving_over_any_batches(
    roomy: Transactions, network: FraudNetwork, seed: int, labels: str
) -> None:
    data = build(roomy, LARGE, times_of(roomy, labels))
    assert most_labels(data.risk) < RING
    offline = offline_scores(network, data)
    online = served(roomy, network, Serving(np.random.default_rng(seed), labels))
    np.testing.assert_allclose(offline, online, rtol=0, atol=1e-5)
    assert offline.std() > 0.05


@pytest.mark.parametrize("seed", [0, 1])
def test_with_rings_that_overflow_it_equals_serving_in_step_with_the_labels_of_each_day(
    history: Transactions, network: FraudNetwork, seed: int
) -> None:
    data = build(history, LARGE, times_of(history))
    assert most_labels(data.risk) > 3 * RING
    offline = offline_scores(network, data)
    how = Serving(np.random.default_rng(seed), lockstep=True)
    np.testing.assert_allclose(offline, served(history, network, how), rtol=0, atol=1e-5)
    assert offline.std() > 0.05


def test_the_scores_compared_depend_on_what_cards_say_of_labels(
    history: Transactions, network: FraudNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained = build(history, LARGE, times_of(history))
    monkeypatch.setattr("models.fraud.dataset.with_evidence", blind)
    blinded = build(history, LARGE, times_of(history))
    one, two = offline_scores(network, explained), offline_scores(network, blinded)
    assert np.abs(one - two).max() > 0.01
    columns = np.flatnonzero((explained.risk != blinded.risk).any(0))
    changed = {PROFILE_FEATURES[column] for column in columns}
    assert changed >= {"log_unexplained", "log_least_ratio", "burst_of_least_explained"}


def blind(labels: np.ndarray, cards: np.ndarray) -> np.ndarray:
    """Evidence of nothing."""
    del cards
    out = labels.copy()
    out["ratio"], out["burst"] = LARGE_RATIO, 0.0
    return out


def test_a_history_without_transactions_has_no_scores(network: FraudNetwork) -> None:
    data = build(simulate(replace(WORLD, customers=0), 1), LARGE)
    assert len(data) == 0
    assert all(offline_scores(network, data, what).shape == (0,) for what in ("score", "novelty"))


def test_without_labels_the_profile_stays_empty(history: Transactions) -> None:
    rows = history.take(slice(0, 500))
    assert (np.ptp(build(rows, LARGE, np.full(500, UNLABELLED)).risk, axis=0) == 0).all()
    assert (np.ptp(build(rows, LARGE, verdict_times(rows.event_time, 1.0)).risk, axis=0) != 0).any()


def test_where_only_frauds_are_labelled_no_genuine_one_is_known(history: Transactions) -> None:
    data = build(history, LARGE, times_of(history, "frauds"))
    column = dict(zip(PROFILE_FEATURES, data.risk.T, strict=True))
    assert np.ptp(column["days_since_last_genuine"]) == np.ptp(column["log_after"]) == 0
    assert np.ptp(column["log_run"]) > 0


def test_a_verdict_younger_than_its_delay_is_not_an_input(history: Transactions) -> None:
    at = int(history.event_time[0]) + 30 * DAY_MS
    young = history.event_time > at - DELAY_DAYS * DAY_MS
    lied = replace(history, is_fraud=history.is_fraud ^ young)
    one, two = (build(rows, LARGE, times_of(rows)) for rows in (history, lied))
    before = history.event_time <= at
    assert (one.risk[before] == two.risk[before]).all()
    assert (one.risk[~before] != two.risk[~before]).any()
    assert (one.x == two.x).all()


def test_without_other_word_verdicts_become_known_after_a_week(history: Transactions) -> None:
    some = history.take(slice(0, 3000))
    told = build(some, LARGE, verdict_times(some.event_time, 7.0))
    assert (build(some, LARGE).risk == told.risk).all()


def test_verdicts_enter_when_they_become_known_whatever_the_order(history: Transactions) -> None:
    rng = np.random.default_rng(8)
    waits = rng.integers(DAY_MS, 9 * DAY_MS, len(history))
    late = history.event_time + np.where(rng.random(len(history)) < 0.3, 10**15, waits)
    never = np.where(late > 10**15, UNLABELLED, late)
    one, two = build(history, LARGE, late), build(history, LARGE, never)
    assert (one.risk == two.risk).all()
    assert (one.risk != build(history, LARGE, times_of(history)).risk).any()


def test_a_large_amount_is_one_from_which_on_nine_in_ten_are_frauds(history: Transactions) -> None:
    mostly = replace(
        history,
        amount=np.arange(len(history), dtype=np.float64),
        is_fraud=np.arange(len(history)) >= len(history) - 300,
    )
    found = large_amount(mostly)
    assert found == float(f"{len(history) - 333:.1e}")


def test_where_amounts_tell_nothing_none_is_large(history: Transactions) -> None:
    assert large_amount(replace(history, is_fraud=np.zeros(len(history), np.bool_))) == np.inf
    assert large_amount(history.take(slice(0, 0))) == np.inf
    few = np.argsort(-history.amount)[:10]  # too few to prove anything
    lucky = np.zeros(len(history), np.bool_)
    lucky[few] = True
    assert large_amount(replace(history, is_fraud=lucky)) == np.inf


def test_novelty_is_the_rank_of_the_surprise(history: Transactions, network: FraudNetwork) -> None:
    data = build(history.take(slice(0, 2000)), LARGE)
    surprise = offline_scores(network, data, "surprise")
    ranked = torch.from_numpy(np.sort(surprise))
    steps = torch.linspace(0, len(ranked) - 1, len(network.surprise_quantiles)).round().long()
    network.surprise_quantiles.copy_(ranked[steps])
    novelty = offline_scores(network, data, "novelty")
    assert (np.diff(novelty[np.argsort(surprise)]) >= 0).all()
    assert 0 <= novelty.min() < 0.02
    assert 0.98 < novelty.max() <= 1
    assert abs(float(np.median(novelty)) - 0.5) < 0.02


def test_names_that_are_text_give_the_same_inputs_as_numbers(history: Transactions) -> None:
    few = history.take(slice(0, 3000))
    text = replace(
        few,
        tx_id=few.tx_id.astype(str).astype(object),
        card_id=few.card_id.astype(str).astype(object),
        terminal_id=few.terminal_id.astype(str).astype(object),
    )
    one, two = (build(rows, LARGE, times_of(rows)) for rows in (few, text))
    assert (one.x == two.x).all()
    assert (one.risk == two.risk).all()

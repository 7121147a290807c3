"""The job that the systems beside Tocsin share must be the same job."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.fraud.dataset import UNLABELLED, build, offline_scores
from models.fraud.network import load_fraud
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from streams.bench.fraud import check_same
from streams.bench.job import FIRST_CAPACITY, Job
from streams.bench.workload import on_new_cards, tokenised, transactions
from streams.errors import TocsinError
from streams.producers.records import transaction_records

EVERYTHING = 0.0


@pytest.fixture(scope="module")
def rows() -> Transactions:
    return tokenised(simulate(SimulatorConfig(customers=300, terminals=600, radius=20.0), 7))


def scores_of(rows: Transactions, batch: int) -> dict[str, float]:
    """Score every transaction with an alert on each, `batch` at a time."""
    job = Job(None, EVERYTHING)
    values = [value for _, value in transaction_records(rows, "EUR")]
    found: dict[str, float] = {}
    for start in range(0, len(values), batch):
        for _, value in job.run(values[start : start + batch]):
            alert = msgspec.json.decode(value)
            found[alert["tx_id"]] = alert["score"]
    assert job.events == job.alerts == len(rows)
    return found


def test_an_empty_batch_raises_nothing() -> None:
    job = Job(None, EVERYTHING)

    assert job.run([]) == []
    assert job.events == 0


def test_scores_are_those_of_the_network_over_the_whole_history(rows: Transactions) -> None:
    network, _ = load_fraud(None)
    expected = offline_scores(
        network, build(rows, network.config.large_amount, np.full(len(rows), UNLABELLED))
    )

    found = scores_of(rows, 500)

    streamed = np.array([found[tx_id] for tx_id in rows.tx_id.tolist()])
    np.testing.assert_allclose(streamed, expected, atol=1e-5)


def test_scores_do_not_depend_on_the_size_of_the_batches(rows: Transactions) -> None:
    small, large = scores_of(rows, 64), scores_of(rows, 4096)

    assert small.keys() == large.keys()
    assert max(abs(small[tx_id] - large[tx_id]) for tx_id in small) < 1e-5


def test_more_cards_than_rows_to_begin_with_make_the_arrays_grow(rows: Transactions) -> None:
    count = FIRST_CAPACITY + 1
    cards = on_new_cards(rows.take(slice(100)), count, count)

    assert len(scores_of(cards, 5000)) == count


def test_the_workload_is_the_same_every_time_and_has_the_size_asked_for() -> None:
    first, again = transactions(None, 3000), transactions(None, 3000)

    assert len(first) == 3000
    assert first.card_id.tolist() == again.card_id.tolist()
    assert first.amount.tolist() == again.amount.tolist()
    ((key, value), *_) = transaction_records(first, "EUR")
    assert 150 <= len(key) + len(value) <= 200


def test_new_cards_take_turns() -> None:
    rows = on_new_cards(transactions(None, 10), 7, 3)

    assert [int(card.removeprefix("card-")) for card in rows.card_id] == [0, 1, 2, 0, 1, 2, 0]
    assert len(set(rows.tx_id.tolist())) == 7


def test_systems_that_disagree_are_not_compared() -> None:
    alike = {f"tx-{number}" for number in range(100)}
    check_same(alike, alike - {"tx-1"}, 1_000_000)

    with pytest.raises(TocsinError, match=r"disagree on 50 of 100 alerts"):
        check_same(alike, set(sorted(alike)[:50]), 100_000)

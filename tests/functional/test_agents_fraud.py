"""Both agents over one store in memory: streamed in any batches, they score as the offline pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.fraud.dataset import DAY_MS, UNLABELLED, build, offline_scores, verdict_times
from models.fraud.network import load_fraud
from models.fraud.profile import RING
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from models.fraud.verdicts import AMENDABLE
from streams.agents.labels import TOO_LATE_TO_TELL
from streams.alerts.envelope import CLOUD_EVENT_HEADERS
from streams.app.agent import Agent, AgentName
from streams.app.build import build_agent
from streams.errors import SettingsError
from streams.pipeline.batch import Batch, Message, Outcome
from streams.schemas import DeadLetter, TransactionLabel, decode_alert, decode_score, encode
from streams.schemas import Transaction as Payment
from streams.settings import load_settings
from streams.state.memory import MemoryServer, MemoryStateStore
from streams.state.store import Identity, StateStore
from streams.status import Status
from tests.fakes.model import random_model
from tests.fakes.records import FakeRecord, payment, verdict

PARTITIONS = 2
DELAY_DAYS = 3
WORLD = SimulatorConfig(
    customers=120, terminals=30, radius=30.0, compromised_terminals=1, compromised_cards=1
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, days=10)


@pytest.fixture(scope="module")
def offline(history: Transactions, model: Path) -> NDArray[np.float32]:
    return offline_scores_of(model, history, verdict_times(history.event_time, DELAY_DAYS))


def offline_scores_of(
    model: Path, history: Transactions, labelled_at: NDArray[np.int64]
) -> NDArray[np.float32]:
    network, _ = load_fraud(model)
    return offline_scores(network, build(history, network.config.large_amount, labelled_at))


def unlabelled(history: Transactions) -> NDArray[np.int64]:
    return np.full(len(history), UNLABELLED)


class World:
    """What outlives a worker: the stores and the logs of both topics."""

    def __init__(self, model: Path, **fraud: Any) -> None:
        self.cards, self.terminals = MemoryServer(), MemoryServer()
        self.cards.identity = Identity(
            group="fraud",
            cluster="c",
            topic="transactions",
            topic_id=None,
            partitions=PARTITIONS,
            model="m",
        ).encode()
        sizes = {"capacity": 1024, "profile_capacity": 1024}
        rules = {"device": "cpu", "threshold": 1.0, "publish_scores": True}
        self.settings = load_settings(
            redis={"url": "memory://"},
            fraud={"model": model, **sizes, **rules, **fraud},
            labels={"capacity": 1024},
            delivery={"max_batch": 512},
        )

    def worker(self, name: AgentName) -> Worker:
        return Worker(self, name)

    def store(self, like: StateStore) -> StateStore:
        assert isinstance(like, MemoryStateStore)
        server = self.terminals if like._shared else self.cards
        return MemoryStateStore(server, shared=like._shared)


class Worker:
    """One agent that takes batches in order and flushes when told to."""

    generation = 0

    def __init__(self, world: World, name: AgentName) -> None:
        self.status = Status()
        self.agent: Agent = build_agent(name, world.settings, self.status, world.store)
        Worker.generation += 1
        self.agent.store.claim(range(PARTITIONS), Worker.generation)
        self.sequence = 0
        self.markers: dict[int, int] = {}

    def take(
        self,
        records: Sequence[tuple[int, FakeRecord]],
        *,
        quiet_below: dict[int, int] | None = None,
    ) -> Outcome:
        """Apply one batch of (partition, record)."""
        self.sequence += 1
        partitions = np.array([partition for partition, _ in records], np.int32)
        found: list[Any] = [record for _, record in records]
        batch = Batch(found, partitions, self.sequence, quiet_below or {})
        outcome: Outcome = self.agent.detector.infer(self.agent.detector.prepare(batch))
        self.markers.update(batch.ends)
        return outcome

    def flush(self) -> None:
        detector = self.agent.detector
        for snapshot in detector.pack(detector.freeze(self.sequence), self.markers):
            self.agent.store.flush(snapshot)
        detector.flushed(self.sequence)


class Log:
    """Records by arrival, each with the next offset of its partition."""

    def __init__(self) -> None:
        self.ends = [0] * PARTITIONS

    def append(self, value: bytes, home: int, key: bytes | None = None) -> tuple[int, FakeRecord]:
        partition = home % PARTITIONS
        record = FakeRecord(self.ends[partition], value, key)
        self.ends[partition] += 1
        return partition, record


def payments_of(transactions: Transactions) -> list[tuple[int, FakeRecord]]:
    log = Log()
    return [
        log.append(
            encode(
                Payment(
                    str(transactions.tx_id[i]),
                    str(transactions.card_id[i]),
                    str(transactions.terminal_id[i]),
                    float(transactions.amount[i]),
                    "EUR",
                    int(transactions.event_time[i]),
                )
            ),
            int(transactions.card_id[i]),
        )
        for i in range(len(transactions))
    ]


def labels_of(transactions: Transactions) -> list[tuple[int, FakeRecord]]:
    log = Log()
    return [
        log.append(
            encode(
                TransactionLabel(
                    str(transactions.tx_id[i]),
                    str(transactions.card_id[i]),
                    str(transactions.terminal_id[i]),
                    float(transactions.amount[i]),
                    int(transactions.event_time[i]),
                    int(transactions.event_time[i]) + DELAY_DAYS * DAY_MS,
                    bool(transactions.is_fraud[i]),
                    "simulator",
                )
            ),
            int(transactions.terminal_id[i]),
        )
        for i in range(len(transactions))
    ]


def days_of(history: Transactions) -> Iterator[tuple[slice, slice]]:
    """For each day the labels that come in by its end, then its transactions."""
    time = history.event_time
    edges = [*np.flatnonzero(np.diff(time // DAY_MS, prepend=-1)).tolist(), len(time)]
    labelled = 0
    for begin, end in pairwise(edges):
        known = int(np.searchsorted(time, time[end - 1] - DELAY_DAYS * DAY_MS, side="right"))
        yield slice(labelled, known), slice(begin, end)
        labelled = known


def scores_in(messages: Sequence[Message]) -> dict[int, float]:
    found = [decode_score(m.value or b"") for m in messages if m.topic == "scores"]
    return {int(score.tx_id): score.score for score in found}


def in_pieces(records: Sequence[Any], sizes: Sequence[int]) -> Iterator[Sequence[Any]]:
    at, turn = 0, 0
    while at < len(records):
        size = sizes[turn % len(sizes)]
        yield records[at : at + size]
        at, turn = at + size, turn + 1


def streamed(
    world: World, history: Transactions, sizes: Sequence[int], *, dies_after: int = 10**9
) -> NDArray[np.float64]:
    """Scores in order of time, over batches of `sizes` in turn; a crash every `dies_after`.

    Each day ends with a flush, so that what is replayed meets the profiles that it met before.
    """
    fraud, labels = world.worker("fraud"), world.worker("labels")
    payments, verdicts = payments_of(history), labels_of(history)
    scores: dict[int, float] = {}
    unflushed: list[Sequence[Any]] = []
    turns = 0
    for known, today in days_of(history):
        for piece in in_pieces(verdicts[known], sizes):
            labels.take(piece)
        labels.flush()
        for piece in in_pieces(payments[today], sizes):
            scores.update(scores_in(fraud.take(piece).messages))
            unflushed.append(piece)
            turns += 1
            if turns % dies_after == 0:
                fraud = world.worker("fraud")  # all that was not flushed is gone
                for again in unflushed:
                    scores.update(scores_in(fraud.take(again).messages))
            if turns % 3 == 0:
                fraud.flush()
                unflushed.clear()
        fraud.flush()
        unflushed.clear()
    return np.array([scores[i] for i in history.tx_id.tolist()])


# -- parity ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["fraud", "labels"])
def test_an_empty_batch_changes_nothing(model: Path, name: AgentName) -> None:
    worker = World(model).worker(name)
    outcome = worker.take([])
    worker.flush()

    assert outcome == Outcome()
    assert len(worker.agent.table) == 0


@pytest.mark.parametrize("name", ["fraud", "labels"])
def test_a_batch_of_bad_records_only_moves_the_marker(model: Path, name: AgentName) -> None:
    world = World(model)
    worker = world.worker(name)
    outcome = worker.take([(0, FakeRecord(i, value)) for i, value in enumerate([b"{", None, b""])])
    worker.flush()

    assert (outcome.events, outcome.dead_letters) == (0, 3)
    assert worker.agent.store.markers([0]) == {0: 2}


@pytest.mark.parametrize("sizes", [[512], [1, 7, 100, 3]], ids=str)
def test_streamed_scores_are_the_offline_ones_whatever_the_batches(
    model: Path, history: Transactions, offline: NDArray[np.float32], sizes: list[int]
) -> None:
    scores = streamed(World(model), history, sizes)
    np.testing.assert_allclose(scores, offline, rtol=0, atol=1e-5)
    assert scores.std() > 0.01  # a constant would be equal too


@settings(max_examples=8, deadline=None)
@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5))
def test_streamed_scores_are_the_offline_ones_for_any_splits(
    model: Path, history: Transactions, offline: NDArray[np.float32], sizes: list[int]
) -> None:
    few = history.take(slice(0, 600))
    scores = streamed(World(model), few, [size + 20 for size in sizes])
    np.testing.assert_allclose(scores, offline[:600], rtol=0, atol=1e-5)


def test_a_worker_that_dies_between_flushes_and_its_successor_score_the_same(
    model: Path, history: Transactions, offline: NDArray[np.float32]
) -> None:
    scores = streamed(World(model), history, [50, 20], dies_after=5)
    np.testing.assert_allclose(scores, offline, rtol=0, atol=1e-5)


def test_cards_that_were_evicted_score_as_if_they_had_stayed(model: Path) -> None:
    history = simulate(
        SimulatorConfig(customers=1600, terminals=30, radius=30.0, compromised_terminals=1), days=2
    )
    world = World(model)
    fraud = world.worker("fraud")
    scores: dict[int, float] = {}
    for piece in in_pieces(payments_of(history), [500]):
        scores.update(scores_in(fraud.take(piece).messages))
        fraud.flush()

    assert fraud.agent.table.evicted > 500
    expected = offline_scores_of(model, history, unlabelled(history))
    found = np.array([scores[i] for i in history.tx_id.tolist()])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_labels_change_what_is_scored_after_them(
    model: Path, history: Transactions, offline: NDArray[np.float32]
) -> None:
    without = offline_scores_of(model, history, unlabelled(history))
    assert np.abs(offline - without).max() > 0.01


def test_what_a_card_says_of_its_fraud_changes_what_is_scored_at_the_terminal(
    model: Path,
) -> None:
    scores = []
    for amount in (20.0, 180.0):  # the labelled one: usual, or nine times the usual amount
        world = World(model)
        fraud, labels = world.worker("fraud"), world.worker("labels")
        spent = [20.0] * 10 + [amount]
        times = [T0 - (8 * 24 - i) * HOUR_MS for i in range(len(spent))]
        for offset, (one, when) in enumerate(zip(spent, times, strict=True)):
            value = payment(tx_id=str(offset), amount=one, event_time=when)
            fraud.take([(1, FakeRecord(offset, value))])
        fraud.flush()
        label(labels, 0, tx_id="10", event_time=times[-1], amount=20.0)
        scores.append(score_at(fraud, 0, T0 + HOUR_MS))
    assert abs(scores[0] - scores[1]) > 1e-3


def test_a_label_on_a_fraud_of_an_unknown_card_still_counts(model: Path) -> None:
    world = World(model)
    fraud, labels = world.worker("fraud"), world.worker("labels")
    before = score_at(fraud, 0, T0 + HOUR_MS)
    world.cards.identity = None  # no fraud agent has ever run here
    assert label(labels, 0, card_id="nobody").events == 1
    assert score_at(fraud, 1, T0 + HOUR_MS) != pytest.approx(before, abs=1e-3)


def test_a_batch_of_which_half_is_one_card_scores_as_one_by_one(model: Path) -> None:
    values = [
        payment(tx_id=str(i), card_id="hot" if i % 2 else str(i), amount=i + 1.0)
        for i in range(400)
    ]
    records = [(0, FakeRecord(i, value)) for i, value in enumerate(values)]
    at_once = scores_in(World(model).worker("fraud").take(records).messages)
    single = World(model).worker("fraud")
    one_by_one: dict[int, float] = {}
    for record in records:
        one_by_one.update(scores_in(single.take([record]).messages))

    assert at_once.keys() == one_by_one.keys()
    assert max(abs(at_once[i] - one_by_one[i]) for i in at_once) < 1e-5


@pytest.mark.parametrize(
    ("name", "setting"),
    [("fraud", "capacity"), ("fraud", "profile_capacity"), ("labels", "capacity")],
)
def test_a_table_that_one_batch_could_fill_is_refused_by_name(
    model: Path, name: AgentName, setting: str
) -> None:
    world = World(model)
    sizes: dict[str, dict[str, Any]]
    sizes = {"fraud": {"capacity": 4096, "model": model}, "labels": {"capacity": 4096}}
    sizes[name][setting] = 1024
    tight = load_settings(redis={"url": "memory://"}, delivery={"max_batch": 2000}, **sizes)
    with pytest.raises(SettingsError, match=rf"{name}\.{setting} \(1024\) must be at least"):
        build_agent(name, tight, Status(), world.store)


# -- replays and odd records ----------------------------------------------------------------------
def test_replays_are_dropped_in_memory_and_after_a_restart(model: Path) -> None:
    world = World(model, threshold=0.0)
    records = [(i % 2, FakeRecord(i // 2, payment(card_id=f"c{i % 6}"))) for i in range(20)]
    fraud = world.worker("fraud")
    assert fraud.take(records).events == 20
    fraud.flush()
    state = dict(world.cards.rows)

    for restarted in (False, True):
        worker = world.worker("fraud") if restarted else fraud
        again = worker.take(records)
        assert (again.events, again.replayed, again.messages) == (0, 20, [])
        worker.flush()
        assert world.cards.rows == state


def test_a_replay_that_overlaps_applies_only_what_is_new(model: Path) -> None:
    fraud = World(model, threshold=0.0).worker("fraud")
    records = [(0, FakeRecord(i, payment(tx_id=str(i)))) for i in range(10)]
    fraud.take(records[:6])
    outcome = fraud.take(records[3:])

    assert (outcome.events, outcome.replayed) == (4, 3)
    assert sorted(scores_in(outcome.messages)) == [6, 7, 8, 9]


def test_a_repeated_tx_id_is_scored_again_for_it_is_another_record(model: Path) -> None:
    fraud = World(model, threshold=0.0).worker("fraud")
    outcome = fraud.take([(0, FakeRecord(i, payment())) for i in range(3)])
    assert (outcome.events, outcome.alerts) == (3, 3)


def test_a_card_on_two_partitions_has_a_row_on_each(model: Path) -> None:
    world = World(model)
    fraud = world.worker("fraud")
    value = payment()
    fraud.take([(0, FakeRecord(0, value)), (1, FakeRecord(0, value)), (1, FakeRecord(1, value))])
    fraud.flush()

    assert len(world.cards.rows) == 2
    assert fraud.agent.table.strays > 0
    again = world.worker("fraud").take([(1, FakeRecord(1, value)), (0, FakeRecord(1, value))])
    assert (again.events, again.replayed) == (1, 1)


def test_the_memory_of_a_card_with_bad_records_between_is_untouched_by_them(model: Path) -> None:
    good = [payment(tx_id=str(i), amount=10.0 * i) for i in range(4)]
    values = [good[0], b"{", good[1], None, payment(amount=1e300), good[2], good[3]]
    clean = World(model).worker("fraud").take([(0, FakeRecord(i, v)) for i, v in enumerate(good)])
    mixed = World(model).worker("fraud").take([(0, FakeRecord(i, v)) for i, v in enumerate(values)])

    assert mixed.dead_letters == 3
    assert scores_in(mixed.messages) == pytest.approx(scores_in(clean.messages), abs=1e-5)


# -- labels ---------------------------------------------------------------------------------------
T0 = 1_600_000_000_000
HOUR_MS = 3_600_000


def score_at(fraud: Worker, offset: int, event_time: int) -> float:
    value = payment(tx_id="1", card_id=f"new-{offset}", event_time=event_time)
    (score,) = scores_in(fraud.take([(0, FakeRecord(offset, value))]).messages).values()
    return score


def label(labels: Worker, offset: int, **changes: Any) -> Outcome:
    body = {"tx_id": f"t{offset}", "event_time": T0 - HOUR_MS, "labelled_at": T0, **changes}
    outcome = labels.take([(0, FakeRecord(offset, verdict(**body)))])
    labels.flush()
    return outcome


def test_a_label_counts_for_transactions_after_it_and_for_none_before(model: Path) -> None:
    world = World(model)
    fraud, labels = world.worker("fraud"), world.worker("labels")
    before = [score_at(fraud, 0, T0 - 1), score_at(fraud, 1, T0 + HOUR_MS)]
    label(labels, 0)
    after = [score_at(fraud, 2, T0 - 1), score_at(fraud, 3, T0 + HOUR_MS)]

    assert after[0] == pytest.approx(before[0], abs=1e-6)
    assert after[1] != pytest.approx(before[1], abs=1e-3)


def test_a_label_is_seen_with_the_next_batch_after_its_flush(model: Path) -> None:
    world = World(model)
    fraud, labels = world.worker("fraud"), world.worker("labels")
    late = T0 + 10 * HOUR_MS
    seen = [score_at(fraud, 0, late)]
    for offset in range(1, 4):
        label(labels, offset)
        seen.append(score_at(fraud, offset, late))
    labels.flush()  # nothing new: the version changes, the profile does not
    seen.append(score_at(fraud, 9, late))

    assert len({round(score, 6) for score in seen[:4]}) == 4
    assert seen[4] == pytest.approx(seen[3], abs=1e-6)


def test_a_withdrawn_verdict_is_as_if_it_had_never_been(model: Path) -> None:
    world = World(model)
    fraud, labels = world.worker("fraud"), world.worker("labels")
    late = T0 + 10 * HOUR_MS
    clean = score_at(fraud, 0, late)
    label(labels, 0, tx_id="t")
    assert score_at(fraud, 1, late) != pytest.approx(clean, abs=1e-3)
    label(labels, 1, tx_id="t", is_fraud=None, labelled_at=T0 + 1)
    assert score_at(fraud, 2, late) == pytest.approx(clean, abs=1e-5)


def test_replayed_labels_are_dropped_and_labels_on_objects_pass_by(model: Path) -> None:
    world = World(model)
    labels = world.worker("labels")
    assert label(labels, 0).events == 1
    rows = dict(world.terminals.rows)
    assert label(labels, 0).replayed == 1
    assert label(world.worker("labels"), 0).replayed == 1
    on_object = (
        b'{"kind":"object","alert_id":"a","camera_id":"k","class":"person",'
        b'"labelled_at":1,"is_true":true,"source":"analyst"}'
    )
    outcome = world.worker("labels").take([(0, FakeRecord(5, on_object))])
    assert outcome == Outcome()
    assert world.terminals.rows == rows


def test_a_late_fraud_counts_and_one_that_cannot_be_told_from_a_counted_one_is_buried(
    model: Path,
) -> None:
    labels = World(model).worker("labels")
    detector: Any = labels.agent.detector

    def told(first: int, *verdicts: dict[str, Any]) -> Outcome:
        times = {"labelled_at": T0 + 100 * HOUR_MS}
        return labels.take(
            [
                (0, FakeRecord(first + i, verdict(**{"tx_id": f"t{first + i}", **times, **one})))
                for i, one in enumerate(verdicts)
            ]
        )

    busy = [{"is_fraud": False, "event_time": T0 + i * HOUR_MS} for i in range(RING + 20)]
    assert told(0, *busy).messages == []
    frauds = [{"event_time": T0 + i * HOUR_MS} for i in range(AMENDABLE + 1)]
    assert told(100, *frauds).messages == []
    again = {"tx_id": "t100", "event_time": T0}
    genuine = {"is_fraud": False, "event_time": T0 - HOUR_MS}
    withdrawn = {"is_fraud": None, "event_time": T0 - HOUR_MS}
    outcome = told(200, again, frauds[1] | {"tx_id": "t101"}, genuine, withdrawn)

    letters = [DeadLetter.from_record(m.key, m.value, m.headers) for m in outcome.messages]
    assert [letter.offset for letter in letters] == [200, 203]
    assert {(letter.step, letter.reason) for letter in letters} == {("apply", TOO_LATE_TO_TELL)}
    assert outcome.dead_letters == 2
    assert detector.too_late == 3


# -- alerts ---------------------------------------------------------------------------------------
def test_an_alert_is_named_after_its_source_and_says_why(model: Path) -> None:
    fraud = World(model, threshold=0.0, publish_scores=False).worker("fraud")
    outcome = fraud.take([(1, FakeRecord(41, payment(amount=900.0)))])
    (message,) = outcome.messages
    alert = decode_alert(message.value or b"")

    assert alert.id == "transactions:1:41:fraud"
    assert alert.event_id == "transactions:1:41:fraud:0"
    assert message.key == b"c1"
    assert [name for name, _ in message.headers] == list(CLOUD_EVENT_HEADERS)
    assert dict(message.headers)["ce_id"] == alert.event_id.encode()
    assert (alert.model.name, alert.model.version, len(alert.model.sha256)) == ("random", "7", 64)
    assert alert.detail["amount"] == 900.0
    assert not alert.rebuilding
    falls = [reason.contribution for reason in alert.reasons]
    assert falls == sorted(falls, reverse=True)


def test_a_replay_after_a_crash_builds_the_same_alerts(model: Path) -> None:
    records = [(0, FakeRecord(i, payment(tx_id=str(i)))) for i in range(20)]
    world = World(model, threshold=0.0, publish_scores=False)
    first = world.worker("fraud").take(records)  # dies before its flush
    second = world.worker("fraud").take(records)

    ids = [dict(message.headers)["ce_id"] for message in first.messages]
    assert ids == [dict(message.headers)["ce_id"] for message in second.messages]
    assert len(set(ids)) == 20


def test_no_alert_and_no_score_goes_out_below_the_commit_of_a_rebuild(model: Path) -> None:
    fraud = World(model, threshold=0.0).worker("fraud")
    fraud.status.rebuild(0, 0, 6)
    records = [(0, FakeRecord(i, payment(tx_id=str(i)))) for i in range(10)]
    outcome = fraud.take(records, quiet_below={0: 6})

    assert outcome.events == 10
    assert sorted(scores_in(outcome.messages)) == [6, 7, 8, 9]
    alerts = [decode_alert(m.value or b"") for m in outcome.messages if m.topic == "alerts"]
    assert sorted(alert.source.offset for alert in alerts) == [6, 7, 8, 9]
    assert all(alert.rebuilding for alert in alerts)


def test_a_score_that_is_not_finite_is_a_failure_and_no_alert(model: Path) -> None:
    fraud = World(model, threshold=0.0).worker("fraud")
    detector: Any = fraud.agent.detector
    detector.probe()
    with torch.no_grad():
        detector._network.out.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        fraud.take([(0, FakeRecord(0, payment()))])
    with pytest.raises(FloatingPointError, match="not finite"):
        detector.probe()  # it is the network, not the payment

"""Playing transactions and their verdicts into a sink that remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

import numpy as np
import pytest

from models.fraud.transactions import Transactions
from streams.errors import SettingsError
from streams.producers.labels import LabelQueue
from streams.producers.pace import CHUNK, AlongEventTime, AtRate, FlatOut, Pace
from streams.producers.play import Limits, Sent, play
from streams.producers.records import Labelling
from streams.producers.sink import MemorySink
from streams.producers.transactions import simulated_days, world
from streams.schemas import TransactionLabel, decode_label, decode_transaction
from streams.settings import Settings

SETTINGS = Settings.model_validate({"fraud": {"currency": "CHF"}})
HOUR = 3_600_000


def rows(times: Iterable[int], *, fraud: Iterable[int] = ()) -> Transactions:
    """Transactions at `times`, numbered from 0; those in `fraud` are frauds."""
    when = np.array(list(times), np.int64)
    number = np.arange(len(when))
    return Transactions(
        tx_id=number,
        card_id=number % 3,
        terminal_id=number % 2,
        amount=number + 0.5,
        event_time=when,
        is_fraud=np.isin(number, list(fraud)),
        scenario=np.zeros(len(when), np.int8),
    )


def played(
    days: Iterable[Transactions],
    *,
    pace: Pace | None = None,
    labelling: Labelling | None = None,
    limits: Limits | None = None,
) -> tuple[MemorySink, Sent]:
    sink = MemorySink()
    sent = asyncio.run(
        play(
            sink,
            SETTINGS,
            days,
            pace=pace or FlatOut(),
            labelling=labelling,
            limits=limits or Limits(),
            progress=lambda _: None,
        )
    )
    return sink, sent


def test_no_days_and_empty_days_send_nothing() -> None:
    for days in ([], [rows([])]):
        sink, sent = played(days, labelling=Labelling(HOUR, "simulator"))
        assert (sink.topics, sent) == ({}, Sent(0, 0))


def test_a_transaction_is_keyed_by_card_and_bears_the_configured_currency() -> None:
    sink, _ = played([rows([1000, 2000])])

    keys, values = zip(*sink.topics["transactions"], strict=True)
    found = [decode_transaction(value) for value in values]
    assert keys == (b"0", b"1")
    assert [t.tx_id for t in found] == ["0", "1"]
    assert [t.amount for t in found] == [0.5, 1.5]
    assert {t.currency for t in found} == {"CHF"}
    assert [t.event_time for t in found] == [1000, 2000]


def test_ids_may_be_text() -> None:
    named = rows([1000])
    named = Transactions(
        np.array(["t-1"], object), np.array(["c-1"], object), np.array(["p-1"], object),
        named.amount, named.event_time, named.is_fraud, named.scenario,
    )  # fmt: skip

    sink, _ = played([named])

    assert sink.topics["transactions"][0][0] == b"c-1"


def test_a_verdict_follows_its_transaction_once_it_is_old_enough() -> None:
    day = rows([0, HOUR, 5 * HOUR, 6 * HOUR], fraud=[1])

    sink, sent = played([day.take(slice(i, i + 1)) for i in range(4)],
                        labelling=Labelling(5 * HOUR, "simulator"))  # fmt: skip

    assert sent == Sent(4, 2)
    labels = [decode_label(value) for _, value in sink.topics["labels"]]
    assert all(isinstance(label, TransactionLabel) for label in labels)
    assert [(la.tx_id, la.is_fraud, la.labelled_at) for la in labels] == [  # type: ignore[union-attr]
        ("0", False, 5 * HOUR),
        ("1", True, 6 * HOUR),
    ]
    assert {label.source for label in labels} == {"simulator"}
    assert [key for key, _ in sink.topics["labels"]] == [b"0", b"1"]


def test_a_replayed_verdict_comes_from_where_it_came_from() -> None:
    days = [rows([0], fraud=[0]), rows([1]), rows([10 * HOUR])]

    sink, _ = played(days, labelling=Labelling(HOUR, "case system"))

    sources = [decode_label(value).source for _, value in sink.topics["labels"]]
    assert sources == ["chargeback", "settled"]


def test_without_labelling_no_verdict_goes_out() -> None:
    sink, sent = played([rows([0, 100 * HOUR])])

    assert "labels" not in sink.topics
    assert sent.labels == 0


def test_count_stops_in_the_middle_of_a_day_and_flushes() -> None:
    sink, sent = played([rows(range(100))], limits=Limits(count=7))

    assert (sent.transactions, sink.flushes) == (7, 1)


def test_duration_stops_a_simulator_that_never_ends() -> None:
    small = world(customers=50, terminals=1000, start="2018-04-01", seed=1)

    _, sent = played(simulated_days(small), limits=Limits(duration_s=0.5))

    assert sent.transactions > 0


def test_a_world_in_which_nobody_can_pay_is_an_error_and_not_a_hang() -> None:
    lonely = world(customers=1, terminals=1, start="2018-04-01", seed=1)

    with pytest.raises(SettingsError, match="simulate more terminals"):
        played(simulated_days(lonely))


def test_the_same_seed_plays_the_same_events() -> None:
    small = world(customers=50, terminals=1000, start="2018-04-01", seed=1)
    labelling = Labelling(24 * HOUR, "simulator")

    first, again = (
        played(islice(simulated_days(small), 5), labelling=labelling)[0] for _ in range(2)
    )

    assert first.topics == again.topics
    assert len(first.topics["labels"]) > 0


@pytest.mark.parametrize(
    ("pace", "sent", "elapsed_s", "allowed"),
    [
        (FlatOut(), 10**6, 0.0, 100),
        (AtRate(10), 0, 0.0, 0),
        (AtRate(10), 0, 0.55, 5),
        (AtRate(10), 5, 0.55, 0),
        (AtRate(10), 20, 0.55, 0),
        (AtRate(10**9), 0, 10.0, 100),
        (AlongEventTime(3600), 0, 0.0, 1),
        (AlongEventTime(3600), 0, 10.0, 11),
        (AlongEventTime(3600), 0, 1e6, 100),
    ],
)
def test_a_pace_allows_what_its_time_has_come(
    pace: Pace, sent: int, elapsed_s: float, allowed: int
) -> None:
    hourly = np.arange(100, dtype=np.int64) * HOUR

    assert pace.allowed(hourly, sent, elapsed_s) == allowed


def test_no_pace_allows_more_than_a_chunk() -> None:
    many = np.zeros(CHUNK * 3, np.int64)

    for pace in (FlatOut(), AtRate(1e9), AlongEventTime(1.0)):
        assert pace.allowed(many, 0, 100.0) == CHUNK


def test_the_queue_gives_each_verdict_once_and_in_order() -> None:
    queue = LabelQueue(10)
    queue.add(rows([]))
    assert list(queue.due(10**9)) == []
    queue.add(rows([0, 5]))
    queue.add(rows([5, 20]))

    due = [
        [t for part in queue.due(now) for t in part.event_time.tolist()] for now in (9, 10, 15, 99)
    ]

    assert due == [[], [0], [5, 5], [20]]

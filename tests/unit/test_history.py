"""Retained transactions and the last word on each, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from streams.errors import TocsinError
from streams.history import NEVER, HistoryBuilder, LabelledHistory
from streams.settings import Settings, load_settings
from tests.fakes.records import FakeRecord, payment, verdict

DAY_MS = 86_400_000
T0 = 1_600_000_000_000


@pytest.fixture
def settings() -> Settings:
    return load_settings(fraud={"rates": {"CHF": 2.0}}, labels={"horizon_days": 90})


def records(values: Sequence[bytes | None]) -> list[Any]:
    return [FakeRecord(offset, value) for offset, value in enumerate(values)]


def paid(number: int, **changes: Any) -> bytes:
    body = {"tx_id": f"t{number}", "event_time": T0 + number * DAY_MS, "amount": 1.0 + number}
    return payment(**{**body, **changes})


def said(number: int, is_fraud: bool | None, *, after: int = 1, **changes: Any) -> bytes:
    time = T0 + number * DAY_MS
    body = {"tx_id": f"t{number}", "event_time": time, "labelled_at": time + after * DAY_MS}
    return verdict(is_fraud=is_fraud, **{**body, **changes})


def built(
    settings: Settings,
    payments: Sequence[bytes | None],
    verdicts: Sequence[bytes | None] = (),
    days: float | None = None,
) -> LabelledHistory:
    builder = HistoryBuilder(settings)
    builder.add_transactions(records([]))
    builder.add_transactions(records(payments))
    builder.add_labels(records(verdicts))
    return builder.build(days)


def test_without_a_transaction_there_is_nothing_to_train_from(settings: Settings) -> None:
    builder = HistoryBuilder(settings)
    builder.add_transactions([])
    with pytest.raises(TocsinError, match="no transaction is retained"):
        builder.build()


def test_transactions_without_verdicts_are_unknown(settings: Settings) -> None:
    history = built(settings, [paid(0), paid(1)])
    assert len(history) == 2
    assert not history.known.any()
    assert (history.labelled_at == NEVER).all()
    assert history.transactions.amount.tolist() == [1.0, 2.0]


def test_the_columns_are_in_order_of_event_time_and_hold_what_was_sent(settings: Settings) -> None:
    values = [paid(2, card_id="b", terminal_id="y"), paid(0, currency="CHF"), paid(1, card_id="b")]
    rows = built(settings, values).transactions

    assert rows.event_time.tolist() == [T0, T0 + DAY_MS, T0 + 2 * DAY_MS]
    assert rows.amount.tolist() == [2.0, 2.0, 3.0]  # two euros a franc
    assert rows.card_id.tolist() == ["c1", "b", "b"]
    assert rows.terminal_id.tolist() == ["m1", "m1", "y"]
    assert len(set(rows.tx_id.tolist())) == 3


def test_the_order_in_which_partitions_were_read_does_not_show(settings: Settings) -> None:
    one = [paid(0, tx_id="p", card_id="a"), paid(0, tx_id="q", card_id="a", amount=7.0)]
    other = [paid(0, tx_id="r", card_id="b"), paid(0, tx_id="s", card_id="c")]
    first, second = built(settings, [*one, *other]), built(settings, [*other, *one])
    np.testing.assert_array_equal(first.transactions.tx_id, second.transactions.tx_id)
    assert first.transactions.amount.tolist() == [1.0, 7.0, 1.0, 1.0]


def test_a_repeated_tx_id_counts_once_as_it_came_first(settings: Settings) -> None:
    rows = built(settings, [paid(0), paid(1), paid(0, amount=99.0)]).transactions
    assert rows.amount.tolist() == [1.0, 2.0]


def test_what_the_agents_would_bury_is_counted_and_left_out(settings: Settings) -> None:
    bad = [b"{", None, paid(1, currency="XXX"), paid(1, amount=1e12), paid(1, event_time=5)]
    late = [b"{", said(0, True, after=91), said(0, True, after=-1)]
    history = built(settings, [paid(0), *bad], late)
    assert (len(history), history.rejected) == (1, 8)
    assert not history.known.any()


def test_the_later_verdict_wins_and_on_a_tie_the_one_that_came_last(settings: Settings) -> None:
    history = built(
        settings,
        [paid(0), paid(1), paid(2)],
        [
            said(0, True, after=3),
            said(0, False, after=2),  # came later, was given earlier
            said(1, True, after=3),
            said(1, False, after=3),
            said(2, True, after=3),
        ],
    )
    assert history.transactions.is_fraud.tolist() == [True, False, True]
    assert history.known.all()
    assert history.labelled_at.tolist() == [T0 + (3 + day) * DAY_MS for day in range(3)]


def test_a_withdrawn_verdict_is_none_until_a_new_one_comes(settings: Settings) -> None:
    withdrawn = [said(0, True), said(0, None, after=2)]
    history = built(settings, [paid(0)], withdrawn)
    assert (history.known.tolist(), history.labelled_at.tolist()) == ([False], [NEVER])
    history = built(settings, [paid(0)], [*withdrawn, said(0, True, after=3)])
    assert history.transactions.is_fraud.tolist() == [True]


def test_silence_means_nothing_unless_it_is_told_to(settings: Settings) -> None:
    payments = [paid(number) for number in (0, 10, 11, 40)]
    words = [said(10, True), said(11, True), said(11, None, after=2)]
    unknown = built(settings, payments, words)
    assert unknown.known.tolist() == [False, True, False, False]

    told = built(settings, payments, words, days=20.0)
    assert told.known.tolist() == [True, True, False, False]  # withdrawn is no silence
    assert told.transactions.is_fraud.tolist() == [False, True, False, False]
    assert told.labelled_at[0] == T0 + 20 * DAY_MS


def test_verdicts_on_what_is_not_retained_are_orphans(settings: Settings) -> None:
    history = built(settings, [paid(0)], [said(0, True), said(7, True), said(8, False)])
    assert history.orphans == 2


def test_labels_on_objects_pass_by(settings: Settings) -> None:
    on_object = (
        b'{"kind":"object","alert_id":"a","camera_id":"k","class":"person",'
        b'"labelled_at":1,"is_true":true,"source":"analyst"}'
    )
    history = built(settings, [paid(0)], [on_object])
    assert (history.rejected, history.orphans) == (0, 0)


def test_the_cuts_between_fetches_do_not_matter(settings: Settings) -> None:
    payments = [paid(number, card_id=f"c{number % 3}") for number in range(20)]
    words = [said(number % 20, number % 3 == 0, after=number) for number in range(60)]
    whole = built(settings, payments, words)
    builder = HistoryBuilder(settings)
    for begin in range(0, 20, 3):
        builder.add_transactions(records(payments[begin : begin + 3]))
    for begin in range(0, 60, 7):
        builder.add_labels(records(words[begin : begin + 7]))
    cut = builder.build()
    np.testing.assert_array_equal(cut.labelled_at, whole.labelled_at)
    np.testing.assert_array_equal(cut.transactions.is_fraud, whole.transactions.is_fraud)
    np.testing.assert_array_equal(cut.transactions.card_id, whole.transactions.card_id)

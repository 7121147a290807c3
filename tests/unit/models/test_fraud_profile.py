import math

import numpy as np
import pytest

from models.fraud.profile import (
    DAYS,
    FRAUD,
    GENUINE,
    LABEL,
    LONG_AGO,
    MAX_DAYS,
    PROFILE,
    PROFILE_FEATURES,
    PROFILE_SUMMARY,
    RING,
    WITHDRAWN,
    apply_labels,
    new_profiles,
    profile_features,
    summarise,
    tx_hash,
)
from models.fraud.sequences import plan_sequences
from models.fraud.verdicts import AMENDABLE, COUNTED, SUPERSEDED, TOO_LATE

DAY = 86_400_000
LARGE = 250.0
UNEXPLAINED = (50.0, 2.0, 0.0)
"""Amount, ratio and burst of a transaction that says nothing of itself."""


def labels_of(*rows):  # type: ignore[no-untyped-def]
    """LABEL from (tx, event day, label day, verdict), and what explains it where that matters."""
    labels = np.zeros(len(rows), LABEL)
    for place, (tx, event_day, label_day, verdict, *explained) in enumerate(rows):
        amount, ratio, burst = explained or UNEXPLAINED
        event_time, labelled_at = round(event_day * DAY), round(label_day * DAY)
        labels[place] = tx, event_time, labelled_at, amount, ratio, burst, verdict
    return labels


def label(profiles, *rows):  # type: ignore[no-untyped-def]
    """Apply labels to the one profile there is."""
    plan = plan_sequences(np.zeros(len(rows), np.int64))
    return apply_labels(plan, labels_of(*rows), profiles[: len(plan.rows)])


def said(profile, as_of=None):  # type: ignore[no-untyped-def]
    """The summary of one profile by name, days among them."""
    known = None if as_of is None else np.array([as_of * DAY], np.int64)
    (summary,) = summarise(profile, LARGE, known)
    found = {name: int(summary[name]) for name in ("newest", "run", "unexplained", "labels")}
    days = dict(zip(DAYS, summary["day"].tolist(), strict=True))
    return {**found, "frauds": int(summary["frauds"]), "days": days}


def named(profile, day, as_of=None):  # type: ignore[no-untyped-def]
    time = np.array([day * DAY], np.int64)
    known = None if as_of is None else np.array([as_of * DAY], np.int64)
    (row,) = profile_features(summarise(profile, LARGE, known), time)
    return dict(zip(PROFILE_FEATURES, row.tolist(), strict=True))


def age(days):  # type: ignore[no-untyped-def]
    return pytest.approx(days / 30 - 1, abs=1e-6)


def test_an_empty_batch_changes_nothing() -> None:
    profiles, stale = label(new_profiles(0))
    assert profiles.shape == stale.shape == (0,)
    summary = summarise(profiles, LARGE)
    assert summary.shape == (0,)
    assert summary.dtype == PROFILE_SUMMARY
    assert profile_features(summary, np.zeros(0, np.int64)).shape == (0, len(PROFILE_FEATURES))


def test_a_profile_is_aligned_so_that_it_is_read_without_copies() -> None:
    assert PROFILE.itemsize % 8 == 0
    assert all(
        PROFILE.fields[name][1] % (PROFILE[name].base.itemsize or 1) == 0 for name in PROFILE.names
    )


def test_a_terminal_without_labels_says_so() -> None:
    row = named(new_profiles(1), 10)
    assert row["in_run"] == row["log_run"] == row["risk_7d"] == row["log_frauds"] == 0
    assert all(row[f"days_since_{name}"] == age(MAX_DAYS) for name in DAYS)
    assert np.isfinite(list(row.values())).all()


def test_frauds_raise_the_risk_and_make_a_run() -> None:
    profile, stale = label(new_profiles(1), (1, 0, 7, GENUINE), (2, 1, 8, FRAUD), (3, 2, 9, FRAUD))
    assert not stale.any()
    summary = said(profile)
    assert (summary["run"], summary["unexplained"], summary["labels"]) == (2, 2, 3)
    assert (summary["days"]["before_run"], summary["days"]["run_start"]) == (0, 1)
    assert summary["days"]["after_run"] == LONG_AGO
    row = named(profile, 9)
    assert row["in_run"] == 1
    assert 0.3 < row["risk_30d"] < 2 / 3
    assert row["days_since_run_start"] == age(8)
    assert row["days_since_last_fraud"] == age(7)


def test_a_genuine_one_after_the_run_does_not_undo_it() -> None:
    profile, _ = label(new_profiles(1), (1, 0, 7, FRAUD), (2, 1, 8, GENUINE), (3, 2, 9, GENUINE))
    summary = said(profile)
    assert summary["run"] == 1
    assert summary["days"]["run_start"] == 0
    assert (summary["days"]["after_run"], summary["days"]["last_genuine"]) == (1, 2)
    assert named(profile, 9)["log_after"] == pytest.approx(math.log(3))


def test_a_genuine_one_between_frauds_makes_two_runs_of_them() -> None:
    verdicts = [FRAUD, FRAUD, GENUINE, FRAUD, GENUINE, FRAUD, FRAUD, FRAUD]
    profile, _ = label(new_profiles(1), *((i, i, 7 + i, v) for i, v in enumerate(verdicts)))
    summary = said(profile)
    assert (summary["run"], summary["frauds"]) == (3, 6)
    days = summary["days"]
    assert (days["previous_run"], days["before_run"], days["run_start"]) == (3, 4, 5)
    assert named(profile, 9)["log_previous_unexplained"] == pytest.approx(math.log(2))


def test_a_genuine_one_of_the_same_moment_does_not_hide_a_fraud() -> None:
    for fraud, genuine in ((1, 2), (2, 1)):
        profile, _ = label(new_profiles(1), (fraud, 3, 9, FRAUD), (genuine, 3, 9, GENUINE))
        summary = said(profile)
        assert (summary["run"], summary["days"]["run_start"]) == (1, 3)
        assert summary["days"]["before_run"] == summary["days"]["after_run"] == LONG_AGO


def test_days_are_those_of_the_calendar_not_spans_of_24_hours() -> None:
    profile, _ = label(new_profiles(1), (1, 0.99, 7, FRAUD))
    assert named(profile, 1.01)["days_since_run_start"] == age(1)
    assert named(profile, 1.99)["days_since_run_start"] == age(1)
    assert named(profile, 2.01)["days_since_run_start"] == age(2)


def test_an_age_neither_falls_below_nothing_nor_grows_for_ever() -> None:
    profile, _ = label(new_profiles(1), (1, 5, 7, FRAUD))
    assert named(profile, 3)["days_since_last_fraud"] == age(0)
    assert named(profile, 5 + MAX_DAYS - 1)["days_since_last_fraud"] == age(MAX_DAYS - 1)
    assert named(profile, 500)["days_since_last_fraud"] == age(MAX_DAYS)


@pytest.mark.parametrize(
    ("explained", "unexplained"),
    [
        ((50.0, 2.0, 0.0), 1),
        ((50.0, 2.499, 6.0), 1),
        ((50.0, 2.5, 0.0), 0),
        ((249.0, 2.0, 0.0), 1),
        ((250.0, 2.0, 0.0), 0),
    ],
)
def test_a_fraud_that_its_card_or_its_amount_explains_is_in_the_run_but_says_little(
    explained: tuple[float, float, float], unexplained: int
) -> None:
    profile, _ = label(new_profiles(1), (1, 2, 9, FRAUD, *explained))
    summary = said(profile)
    assert (summary["run"], summary["unexplained"]) == (1, unexplained)
    assert (summary["days"]["unexplained"] == 2) == (unexplained == 1)
    assert named(profile, 9)["log_unexplained"] == pytest.approx(math.log1p(unexplained))


def test_the_least_explained_fraud_of_the_run_speaks_for_it() -> None:
    rows = [
        (1, 0, 7, FRAUD, 10.0, 2.0, 0.0),  # of a run before
        (2, 1, 8, GENUINE),
        (3, 2, 9, FRAUD, 300.0, 4.0, 2.0),
        (4, 3, 10, FRAUD, 80.0, 5.0, 1.0),
        (5, 4, 11, FRAUD, 120.0, 6.0, 9.0),
    ]
    profile, _ = label(new_profiles(1), *rows)
    row = named(profile, 12)
    assert row["log_least_ratio"] == pytest.approx(math.log(4.0))
    assert row["least_amount"] == pytest.approx(0.8)
    assert row["log_least_explained"] == pytest.approx(math.log(5.5))
    assert row["burst_of_least_explained"] == pytest.approx(0.25)
    assert row["burst_of_first"] == pytest.approx(0.5)


def test_a_label_newer_than_the_transaction_does_not_count() -> None:
    profile, _ = label(new_profiles(1), (1, 0, 7, GENUINE), (2, 1, 8, FRAUD))
    assert said(profile)["newest"] == said(profile, as_of=7)["newest"] == 8 * DAY
    early, late = said(profile, as_of=7), said(profile, as_of=8)
    assert (early["labels"], early["frauds"], early["days"]["last_genuine"]) == (1, 0, 0)
    assert (late["labels"], late["frauds"], late["days"]["last_fraud"]) == (2, 1, 1)
    assert named(profile, 7, as_of=7)["in_run"] == 0
    assert named(profile, 8, as_of=8)["in_run"] == 1


def test_the_later_verdict_wins_whichever_arrives_last() -> None:
    for order in ((0, 1), (1, 0)):
        verdicts = [(1, 0, 7, FRAUD), (1, 0, 9, GENUINE)]
        profile, stale = label(new_profiles(1), *(verdicts[i] for i in order))
        assert said(profile)["frauds"] == 0
        assert stale.tolist() == [False, order == (1, 0)]


def test_of_two_verdicts_of_the_same_moment_the_one_that_arrives_last_wins() -> None:
    profile, stale = label(new_profiles(1), (1, 0, 7, GENUINE), (1, 0, 7, FRAUD))
    assert said(profile)["frauds"] == 1
    assert not stale.any()


def test_a_withdrawn_verdict_leaves_no_trace_in_the_counts() -> None:
    profile, _ = label(new_profiles(1), (1, 0, 7, FRAUD), (1, 0, 9, WITHDRAWN))
    assert said(profile)["labels"] == 0
    assert named(profile, 10) == named(new_profiles(1), 10)


def test_what_does_not_fit_the_ring_is_folded_and_still_counts() -> None:
    labels = [(i, i / 4, 7 + i / 4, FRAUD) for i in range(RING + 8)]
    profile, stale = label(new_profiles(1), *labels)
    assert not stale.any()
    assert profile["folded"][0] == profile["folded_frauds"][0] == 8
    summary = said(profile)
    assert (summary["labels"], summary["frauds"], summary["run"]) == (RING + 8, RING + 8, RING)
    assert summary["days"]["run_start"] == 2  # the first that the ring still has
    decayed = sum(math.exp(-(RING + 7 - i) / 4 / 30) for i in range(RING + 8))
    row = named(profile, 20)
    assert row["risk_30d"] == pytest.approx(decayed / (decayed + 1))
    assert row["log_labels_30d"] == pytest.approx(math.log1p(decayed) - 2)


def test_the_ring_keeps_the_newest_transactions_in_whatever_order_their_labels_come() -> None:
    labels = [(i, i, 7 + i, GENUINE) for i in range(RING + 5)]
    shuffled = [labels[i] for i in np.random.default_rng(2).permutation(RING).tolist()]
    for arrival in (labels, [*shuffled, *labels[RING:]]):
        profile, stale = label(new_profiles(1), *arrival)
        assert not stale.any()
        assert sorted(profile["ring_tx"][0].tolist()) == list(range(5, RING + 5))
        assert (profile["base_time"][0], profile["base_tx"][0]) == (4 * DAY, 4)


def test_a_label_older_than_all_in_a_full_ring_is_folded_at_once() -> None:
    labels = [(i, 10 + i, 50, GENUINE) for i in range(RING)]
    profile, stale = label(new_profiles(1), *labels, (99, 9, 50, FRAUD))
    assert not stale.any()
    assert sorted(profile["ring_tx"][0].tolist()) == list(range(RING))
    assert (profile["folded"][0], profile["folded_frauds"][0]) == (1, 1)


def test_a_run_begins_after_a_genuine_one_that_was_folded() -> None:
    verdicts = [FRAUD, FRAUD, GENUINE] + [FRAUD] * RING
    labels = [(i, i, 7 + i, verdict) for i, verdict in enumerate(verdicts)]
    profile, _ = label(new_profiles(1), *labels)
    assert profile["folded"][0] == 3
    days = said(profile)["days"]
    assert (days["before_run"], days["last_genuine"], days["run_start"]) == (2, 2, 3)


def test_a_label_that_may_have_been_folded_changes_nothing() -> None:
    labels = [(i, i, 7 + i, GENUINE) for i in range(RING + 8)]
    profile, _ = label(new_profiles(1), *labels)
    late = (labels[0], labels[7], (999, 0, 1, GENUINE), (7, 7, 8, WITHDRAWN))
    again, fates = label(profile, *late)
    assert fates.tolist() == [TOO_LATE] * 4
    assert again.tobytes() == profile.tobytes()


@pytest.mark.parametrize("verdict", [FRAUD, GENUINE, WITHDRAWN])
def test_who_reads_the_past_cannot_tell_a_later_verdict_that_counts_from_one_that_does_not(
    verdict: int,
) -> None:
    labels = [(i, i, 7 + i, GENUINE) for i in range(RING + 8)]
    profile, _ = label(new_profiles(1), *labels)
    assert said(profile, as_of=50)["labels"] == RING + 8
    later, _ = label(profile, (999, 0, 60, verdict))
    assert said(later, as_of=50)["labels"] == RING


def test_a_fraud_that_is_known_after_dozens_of_newer_verdicts_counts_once() -> None:
    labels = [(i, 10 + i / 8, 11 + i / 8, GENUINE) for i in range(4 * RING)]
    profile, _ = label(new_profiles(1), *labels)
    chargebacks = [(900 + i, 11 + i, 60, FRAUD) for i in range(3)]
    for _ in range(2):
        profile, fates = label(profile, *chargebacks)
        assert fates.tolist() == [COUNTED] * 3
    assert (said(profile)["labels"], said(profile)["frauds"]) == (4 * RING + 3, 3)
    newest = 10 + (3 * RING - 1) / 8  # of the folded ones, to which counts are decayed
    decayed = sum(math.exp(-(newest - 11 - i) / 30) for i in range(3))
    assert profile["base_f"][0, 2] == pytest.approx(decayed)
    assert said(profile, as_of=59)["frauds"] == 0  # nobody had said so then


def test_a_folded_fraud_may_change_its_mind_and_change_it_back() -> None:
    labels = [(i, i, 7 + i, FRAUD if i == 2 else GENUINE) for i in range(RING + 4)]
    profile, _ = label(new_profiles(1), *labels)
    before = said(profile)["labels"], profile["base_n"].tolist(), profile["base_f"].tolist()
    for day, verdict, counts in (
        (50, GENUINE, (RING + 4, 0)),
        (51, WITHDRAWN, (RING + 3, 0)),
        (52, FRAUD, (RING + 4, 1)),
    ):
        profile, fates = label(profile, (2, 2, day, verdict), (2, 2, day - 1, FRAUD))
        assert fates.tolist() == [COUNTED, SUPERSEDED]
        assert (said(profile)["labels"], said(profile)["frauds"]) == counts
    assert said(profile)["labels"] == before[0]
    np.testing.assert_allclose(profile["base_n"], before[1])
    np.testing.assert_allclose(profile["base_f"], before[2])


def test_of_folded_frauds_the_newest_can_still_be_told_apart() -> None:
    labels = [(i, 100 + i, 107 + i, GENUINE) for i in range(RING + 1)]
    profile, _ = label(new_profiles(1), *labels)
    frauds = [(900 + i, 50 + i, 120, FRAUD) for i in range(AMENDABLE + 1)]
    profile, fates = label(profile, *frauds)
    assert fates.tolist() == [COUNTED] * (AMENDABLE + 1)
    assert (profile["settled_time"][0], profile["settled_tx"][0]) == (50 * DAY, 900)
    again, fates = label(profile, frauds[0], (800, 49, 120, FRAUD), frauds[1])
    assert fates.tolist() == [TOO_LATE, TOO_LATE, COUNTED]
    assert again.tobytes() == profile.tobytes()


def test_a_reader_from_before_the_folded_labels_sees_none_of_them() -> None:
    labels = [(i, i, 7 + i, FRAUD) for i in range(RING + 8)]
    profile, _ = label(new_profiles(1), *labels)
    assert said(profile, as_of=13)["labels"] == 0
    assert said(profile, as_of=14)["labels"] == 8


def test_the_profiles_given_are_left_as_they_are() -> None:
    before = new_profiles(1)
    label(before, (1, 0, 7, FRAUD))
    assert before.tobytes() == new_profiles(1).tobytes()


def test_the_hash_of_a_transaction_never_changes() -> None:
    assert tx_hash("tx-1") == 7_726_700_342_316_911_226

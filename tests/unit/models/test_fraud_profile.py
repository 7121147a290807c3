import numpy as np
import pytest

from models.fraud.profile import (
    FRAUD,
    GENUINE,
    NEVER,
    PROFILE,
    PROFILE_FEATURES,
    RING,
    WITHDRAWN,
    apply_labels,
    new_profiles,
    profile_features,
    summarise,
    tx_hash,
)
from models.fraud.sequences import plan_sequences

DAY = 86_400_000


def label(profiles, *labels):  # type: ignore[no-untyped-def]
    """Apply (tx, event day, label day, verdict) to the one profile there is."""
    columns = list(zip(*labels, strict=True)) or [()] * 4
    plan = plan_sequences(np.zeros(len(labels), np.int64))
    return apply_labels(
        plan,
        tx=np.array(columns[0], np.uint64),
        event_time=(np.array(columns[1], np.float64) * DAY).astype(np.int64),
        labelled_at=(np.array(columns[2], np.float64) * DAY).astype(np.int64),
        verdict=np.array(columns[3], np.int8),
        profiles=profiles[: len(plan.rows)],
    )


def named(profile, day, as_of=None):  # type: ignore[no-untyped-def]
    time = np.array([day * DAY], np.int64)
    known = None if as_of is None else np.array([as_of * DAY], np.int64)
    (row,) = profile_features(summarise(profile, known), time)
    return dict(zip(PROFILE_FEATURES, row.tolist(), strict=True))


def test_an_empty_batch_changes_nothing() -> None:
    profiles, stale = label(new_profiles(0))
    assert profiles.shape == stale.shape == (0,)
    assert summarise(profiles).shape == (0,)
    assert profile_features(summarise(profiles), np.zeros(0, np.int64)).shape == (
        0,
        len(PROFILE_FEATURES),
    )


def test_a_profile_is_aligned_so_that_it_is_read_without_copies() -> None:
    assert PROFILE.itemsize % 8 == 0
    assert all(
        PROFILE.fields[name][1] % (PROFILE[name].base.itemsize or 1) == 0 for name in PROFILE.names
    )


def test_a_terminal_without_labels_says_so() -> None:
    row = named(new_profiles(1), 10)
    assert row["has_fraud"] == row["has_genuine"] == row["in_run"] == row["risk_7d"] == 0
    assert np.isfinite(list(row.values())).all()


def test_frauds_raise_the_risk_and_make_a_run() -> None:
    profile, stale = label(new_profiles(1), (1, 0, 7, GENUINE), (2, 1, 8, FRAUD), (3, 2, 9, FRAUD))
    assert not stale.any()
    summary = summarise(profile)[0]
    assert (summary["run"], summary["after"], summary["labels"]) == (2, 0, 3)
    assert summary["run_start"] == DAY
    row = named(profile, 9)
    assert row["in_run"] == 1
    assert 0.3 < row["risk_30d"] < 2 / 3
    assert row["days_in_run"] == pytest.approx(8 / 30 - 1)


def test_a_genuine_one_ends_the_run() -> None:
    profile, _ = label(new_profiles(1), (1, 0, 7, FRAUD), (2, 1, 8, GENUINE), (3, 2, 9, GENUINE))
    summary = summarise(profile)[0]
    assert (summary["run"], summary["after"], summary["run_start"]) == (0, 2, NEVER)


def test_a_label_newer_than_the_transaction_does_not_count() -> None:
    profile, _ = label(new_profiles(1), (1, 0, 7, GENUINE), (2, 1, 8, FRAUD))
    assert summarise(profile)[0]["newest"] == 8 * DAY
    assert named(profile, 7, as_of=7)["has_fraud"] == 0
    assert named(profile, 7, as_of=7)["has_genuine"] == 1
    assert named(profile, 8, as_of=8)["has_fraud"] == 1


def test_the_later_verdict_wins_whichever_arrives_last() -> None:
    for order in ((0, 1), (1, 0)):
        verdicts = [(1, 0, 7, FRAUD), (1, 0, 9, GENUINE)]
        profile, stale = label(new_profiles(1), *(verdicts[i] for i in order))
        assert summarise(profile)[0]["frauds"] == 0
        assert stale.tolist() == [False, order == (1, 0)]


def test_of_two_verdicts_of_the_same_moment_the_one_that_arrives_last_wins() -> None:
    profile, stale = label(new_profiles(1), (1, 0, 7, GENUINE), (1, 0, 7, FRAUD))
    assert summarise(profile)[0]["frauds"] == 1
    assert not stale.any()


def test_a_withdrawn_verdict_leaves_no_trace_in_the_counts() -> None:
    profile, _ = label(new_profiles(1), (1, 0, 7, FRAUD), (1, 0, 9, WITHDRAWN))
    assert summarise(profile)[0]["labels"] == 0
    assert named(profile, 10)["has_fraud"] == 0


def test_what_does_not_fit_the_ring_is_folded_and_still_counts() -> None:
    labels = [(i, i / 4, 7 + i / 4, FRAUD) for i in range(RING + 8)]
    profile, stale = label(new_profiles(1), *labels)
    summary = summarise(profile)[0]
    assert not stale.any()
    assert profile["folded"][0] == 8
    assert summary["labels"] == RING + 8
    assert summary["run_start"] == 0
    decayed = sum(np.exp(-(RING + 7 - i) / 4 / 30) for i in range(RING + 8))
    assert summary["n"][2] == pytest.approx(decayed)
    assert summary["f"][2] == pytest.approx(decayed)


def test_a_run_that_began_in_the_folded_labels_begins_after_the_genuine_one() -> None:
    verdicts = [FRAUD, FRAUD, GENUINE] + [FRAUD] * (RING + 2)
    labels = [(i, i, 7 + i, verdict) for i, verdict in enumerate(verdicts)]
    profile, _ = label(new_profiles(1), *labels)
    assert profile["folded"][0] == 5
    assert summarise(profile)[0]["run_start"] == 3 * DAY


def test_a_label_from_before_all_that_was_folded_is_stale() -> None:
    labels = [(i, i, 7 + i, GENUINE) for i in range(RING + 8)]
    profile, _ = label(new_profiles(1), *labels)
    again, stale = label(profile, labels[0], labels[7], (999, 0, 1, FRAUD))
    assert stale.all()
    assert again.tobytes() == profile.tobytes()


def test_a_reader_from_before_the_folded_labels_sees_none_of_them() -> None:
    labels = [(i, i, 7 + i, FRAUD) for i in range(RING + 8)]
    profile, _ = label(new_profiles(1), *labels)
    assert summarise(profile, np.array([13 * DAY]))[0]["labels"] == 0
    assert summarise(profile, np.array([14 * DAY]))[0]["labels"] == 8


def test_the_profiles_given_are_left_as_they_are() -> None:
    before = new_profiles(1)
    label(before, (1, 0, 7, FRAUD))
    assert before.tobytes() == new_profiles(1).tobytes()


def test_the_hash_of_a_transaction_never_changes() -> None:
    assert tx_hash("tx-1") == 7_726_700_342_316_911_226

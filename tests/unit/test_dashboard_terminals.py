"""What the labels agent's memory of a terminal says to people."""

from __future__ import annotations

import numpy as np

from models.fraud.sequences import plan_sequences
from models.fraud.verdicts import FRAUD, GENUINE, LABEL, RING, WITHDRAWN, apply_labels, new_profiles
from streams.dashboard.terminals import KnownVerdict, Terminal, _known

DAY_MS = 86_400_000


def profile_of(*verdicts: tuple[int, int, float, int]) -> Terminal:
    """After verdicts of (transaction, day, amount, verdict)."""
    labels = np.zeros(len(verdicts), LABEL)
    for row, (tx, day, amount, verdict) in zip(labels, verdicts, strict=True):
        row["tx"], row["event_time"], row["amount"] = tx, day * DAY_MS, amount
        row["labelled_at"], row["verdict"] = (day + 7) * DAY_MS, verdict
    plan = plan_sequences(np.zeros(len(verdicts), np.int64))
    return _known(apply_labels(plan, labels, new_profiles(1))[0][0])


def test_a_terminal_without_verdicts_has_none() -> None:
    assert _known(new_profiles(1)[0]) == Terminal([], 0, 0)


def test_verdicts_come_in_order_of_time_without_those_that_were_withdrawn() -> None:
    found = profile_of(
        (3, 30, 12.5, FRAUD), (1, 10, 5.0, GENUINE), (2, 20, 7.0, FRAUD), (2, 20, 7.0, WITHDRAWN)
    )
    assert found == Terminal(
        [KnownVerdict(10 * DAY_MS, 5.0, False), KnownVerdict(30 * DAY_MS, 12.5, True)], 0, 0
    )


def test_of_what_was_folded_the_numbers_are_told() -> None:
    frauds = [(number, number, 1.0, FRAUD) for number in range(1, 4)]
    genuine = [(number, number, 1.0, GENUINE) for number in range(4, 4 + RING)]
    found = profile_of(*frauds, *genuine)
    assert len(found.verdicts) == RING
    assert (found.older, found.older_frauds) == (3, 3)

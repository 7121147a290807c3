"""The power goes out under the worker that learns verdicts."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.fraud.evidence import with_evidence
from models.fraud.features import new_card_state
from models.fraud.profile import (
    FRAUD,
    LABEL,
    PROFILE,
    WITHDRAWN,
    apply_labels,
    new_profiles,
    tx_hash,
)
from models.fraud.sequences import plan_sequences
from streams.agents.labels import VERDICTS
from streams.schemas import TransactionLabel, encode
from streams.state.redis import RedisStateStore
from streams.state.store import digests
from streams.state.table import parse_rows, row_dtype
from tests.chaos.table import Witness
from tests.conftest import ROOT, Stack
from tests.worker import Bed, Produced, bed_on

pytestmark = pytest.mark.chaos

SLOW = (sys.executable, str(ROOT / "tests" / "chaos" / "labels_worker.py"))
TERMINALS = 40
DAY_MS = 86_400_000
BEGUN_MS = 1_700_000_000_000
CHANGED_SHARE = 0.3
"""Verdicts that change one of the terminal's last: twice applied, or out of order, it shows."""


@pytest.fixture
def bed(real_stack: Stack, namespace: str, tmp_path: Path) -> Iterator[Bed]:
    made = bed_on(real_stack.bootstrap, real_stack.redis_url, namespace, tmp_path)
    delivery = made.settings.delivery.model_copy(update={"max_batch": 100})
    made.settings = made.settings.model_copy(update={"delivery": delivery})
    made.create_topics()
    yield made
    made.close()


def verdicts(count: int, rng: random.Random) -> list[TransactionLabel]:
    """`count` verdicts at `TERMINALS` terminals, some of which change one of the last or take it
    back."""
    given: list[TransactionLabel] = []
    last: dict[int, list[TransactionLabel]] = {}
    for number in range(count):
        terminal = rng.randrange(TERMINALS)
        recent = last.setdefault(terminal, [])[-8:]
        when = BEGUN_MS + number * 60_000
        tx_id, happened = f"t{number}", when - DAY_MS
        if recent and rng.random() < CHANGED_SHARE:
            changed = rng.choice(recent)
            tx_id, happened = changed.tx_id, changed.event_time
        verdict = rng.choice([True, False, None] if tx_id != f"t{number}" else [True, False])
        label = TransactionLabel(
            tx_id, "card", f"shop-{terminal}", 20.0, happened, when, verdict, "analyst"
        )
        given.append(label)
        if tx_id == f"t{number}":
            last[terminal].append(label)
    return given


def one_by_one(labels: list[TransactionLabel]) -> NDArray[Any]:
    """The (1,) PROFILE of a terminal that learns its verdicts one after another."""
    profile = new_profiles(1)
    for label in labels:
        column = np.zeros(1, LABEL)
        column["tx"], column["verdict"] = tx_hash(label.tx_id), VERDICTS[label.is_fraud]
        column["event_time"], column["labelled_at"] = label.event_time, label.labelled_at
        column["amount"] = label.amount
        known = with_evidence(column, new_card_state(1))
        profile, _ = apply_labels(plan_sequences(np.zeros(1, np.int64)), known, profile)
    return profile


@pytest.mark.long
@pytest.mark.fault(
    "labels: kill -9 before and after they are stored, and within a batch",
    must="each label counts once in its terminal's profile",
)
def test_each_label_counts_once_when_workers_die(
    bed: Bed, witness: Witness, rng: random.Random
) -> None:
    topic, group = bed.settings.topics.labels, bed.settings.labels.group
    given = verdicts(6_000, rng)
    bed.produce(topic, [Produced(encode(label), label.terminal_id.encode()) for label in given])
    for death in ("before-flush", "after-flush"):
        victim = bed.worker("labels", command=(*SLOW, "--pace", "0.1", "--die-at", f"{death}:4"))
        assert victim.start().wait() == -9
        assert bed.lag(group, topic) > 0
    with bed.worker("labels", command=(*SLOW, "--pace", "0.5")) as victim:
        victim.until(lambda: victim.log.count("begin") > 3 and victim.log[-1] == "begin", "a batch")
        victim.kill()
        assert victim.log[-1] == "begin", "killed between two batches"
    assert bed.lag(group, topic) > 0
    witness.hit("the 4th flush ended two, one died within a batch, with labels left")
    with bed.worker("labels") as last:
        last.until(lambda: bed.lag(group, topic) == 0, "commit of everything")
        assert last.stop() == 0

    by_terminal: dict[str, list[TransactionLabel]] = {}
    for label in given:
        by_terminal.setdefault(label.terminal_id, []).append(label)
    profiles = profiles_of(bed, list(by_terminal))
    for name, profile in zip(by_terminal, profiles, strict=True):
        # Every transaction once, with its last verdict, if that was not taken back.
        final = {label.tx_id: label.is_fraud for label in by_terminal[name]}
        ring = profile["ring_verdict"][: int(profile["ring_used"])]
        count, frauds = (ring != WITHDRAWN).sum(), (ring == FRAUD).sum()
        assert int(profile["folded"]) + count == sum(v is not None for v in final.values())
        assert int(profile["folded_frauds"]) + frauds == sum(v is True for v in final.values())
        # And all else as if nothing had happened.
        (due,) = one_by_one(by_terminal[name])
        for field in PROFILE.names or ():
            assert np.array_equal(profile[field], due[field]), f"{field} of {name}"
    assert bed.read(f"{topic}{bed.settings.topics.dead_suffix}") == []
    witness.found(f"{len(given):,} labels, {len(profiles)} profiles right")


def profiles_of(bed: Bed, terminals: list[str]) -> NDArray[Any]:
    """What is stored of each: (N,) PROFILE."""
    store = RedisStateStore(bed.settings.redis, bed.settings.labels.group, shared=True)
    try:
        stored = store.load(np.zeros(len(terminals), np.int32), digests(terminals))
    finally:
        store.close()
    found = [row for row in stored if row is not None]
    assert len(found) == len(terminals)
    rows, _ = parse_rows(found, row_dtype(PROFILE), 0)
    profiles: NDArray[Any] = rows["state"]
    return profiles

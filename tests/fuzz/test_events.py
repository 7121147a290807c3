"""Payments and verdicts that are nearly right: each has one fate, and all state is finite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.app.agent import AgentName
from streams.app.build import build_agent
from streams.pipeline.batch import Batch
from streams.schemas import decode_alert
from streams.settings import load_settings
from streams.status import Status
from tests.fakes.records import FakeRecord
from tests.fuzz.inputs import PAYMENT, VERDICT, corpus, near

GOOD = json.dumps(PAYMENT).encode()


class Agent:
    """One agent over a store in memory."""

    def __init__(self, name: AgentName) -> None:
        settings = load_settings(
            redis={"url": "memory://"},
            fraud={"capacity": 4096, "threshold": 0.0, "publish_scores": True},
            delivery={"max_batch": 256},
        )
        agent = build_agent(name, settings, Status(), lambda store: store)
        agent.store.claim([0], 1)
        self._store, self._detector = agent.store, agent.detector
        self._offset = 0
        self._sequence = 0

    def take(self, values: list[bytes | None]) -> None:
        """Put a batch through, flush, and look at everything that came of it."""
        self._sequence += 1
        records: list[Any] = [
            FakeRecord(self._offset + place, value, b"c1") for place, value in enumerate(values)
        ]
        self._offset += len(values)
        batch = Batch(records, np.zeros(len(records), np.int32), self._sequence)
        outcome = self._detector.infer(self._detector.prepare(batch))
        assert outcome.events + outcome.dead_letters + outcome.replayed == len(values)
        for message in outcome.messages:
            if message.topic == "alerts":
                alert = decode_alert(message.value or b"")
                assert 0 <= alert.score <= 1
                assert all(np.isfinite(reason.contribution) for reason in alert.reasons)
            elif message.topic == "scores":
                assert 0 <= json.loads(message.value or b"")["score"] <= 1
            else:
                assert message.topic.endswith(".dead")
                assert message.value in values
        frozen = self._detector.freeze(self._sequence)
        for name in frozen.records["state"].dtype.names:
            assert np.isfinite(frozen.records["state"][name].astype(float)).all(), name
        for snapshot in self._detector.pack(frozen, {0: self._offset - 1}):
            tail = np.ascontiguousarray(snapshot.values[:, frozen.records.dtype.itemsize :])
            assert np.isfinite(tail.view("<f4")).all()
            self._store.flush(snapshot)
        self._detector.flushed(self._sequence)


@pytest.fixture(scope="module")
def fraud() -> Agent:
    return Agent("fraud")


@pytest.fixture(scope="module")
def labels() -> Agent:
    return Agent("labels")


@pytest.mark.parametrize("file", corpus("transactions"), ids=lambda file: file.name)
def test_a_payment_of_the_corpus_has_one_fate(fraud: Agent, file: Path) -> None:
    fraud.take([GOOD, file.read_bytes(), GOOD])


@pytest.mark.parametrize("file", corpus("labels"), ids=lambda file: file.name)
def test_a_verdict_of_the_corpus_has_one_fate(labels: Agent, file: Path) -> None:
    labels.take([json.dumps(VERDICT).encode(), file.read_bytes()])


@given(values=st.lists(st.one_of(st.none(), near(PAYMENT)), min_size=1, max_size=20))
def test_payments_that_are_nearly_right_have_one_fate(
    fraud: Agent, values: list[bytes | None]
) -> None:
    fraud.take([*values, GOOD])


@given(values=st.lists(st.one_of(st.none(), near(VERDICT)), min_size=1, max_size=20))
def test_verdicts_that_are_nearly_right_have_one_fate(
    labels: Agent, values: list[bytes | None]
) -> None:
    labels.take(values)

"""From scores to messages: which transactions become alerts, and what the alert says."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.alerts.envelope import build_fraud_alert, cloud_events_headers
from streams.alerts.explanation import Explanation
from streams.pipeline.batch import Batch, Message
from streams.schemas import ModelRef, Record, Score, Source, Transaction, encode
from streams.tracing import trace_context, traceparent_of

Explain = Callable[[NDArray[np.int64]], list[Explanation]]
"""Given the slots of H alerts, what is said beside the score of each."""


@dataclass(frozen=True, slots=True)
class DecisionRules:
    """Where alerts and scores go, and which network they come from."""

    model: ModelRef
    source_topic: str
    alerts_topic: str
    scores_topic: str | None = None
    """Every score goes here too, in the partition of its transaction; None publishes none."""


@dataclass(frozen=True, slots=True)
class Scored:
    """N transactions of a batch in packed order: slot s scores ``transactions[packed[s]]``."""

    batch: Batch
    transactions: list[Transaction]
    index: NDArray[np.int64]  # (N,) place in the batch
    packed: NDArray[np.int64]  # (N,)
    scores: NDArray[np.float32]  # (N,) packed, in [0, 1]

    def source_of(self, slot: int) -> tuple[Transaction, Record, int]:
        """Return the transaction, record and partition behind a slot."""
        position = int(self.packed[slot])
        place = int(self.index[position])
        record = self.batch.records[place]
        return self.transactions[position], record, int(self.batch.partitions[place])

    def quiet(self, slot: int) -> bool:
        """Whether the slot's output went out before the rebuild that it is part of."""
        if not self.batch.quiet_below:
            return False
        _, record, partition = self.source_of(slot)
        return record.offset < self.batch.quiet_below.get(partition, 0)


def alerts(
    scored: Scored,
    rules: DecisionRules,
    thresholds: NDArray[np.float64],
    explain: Explain,
    *,
    rebuilding: bool,
) -> list[Message]:
    """Build the alerts of a batch, in packed order; their ids depend on nothing but the source.

    `thresholds` are (N,) packed, or (1,) for all: a score at or above its own is an alert.
    """
    hits = np.flatnonzero(scored.scores >= thresholds)
    hits = np.array([slot for slot in hits.tolist() if not scored.quiet(slot)], np.int64)
    if not len(hits):
        return []
    now = round(time.time() * 1000)
    limits = np.broadcast_to(thresholds, scored.scores.shape)
    messages = []
    for slot, explanation in zip(hits.tolist(), explain(hits), strict=True):
        transaction, record, partition = scored.source_of(slot)
        alert = build_fraud_alert(
            transaction,
            source=Source(rules.source_topic, partition, record.offset),
            score=float(scored.scores[slot]),
            threshold=float(limits[slot]),
            model=rules.model,
            processed_at=now,
            explanation=explanation,
            rebuilding=rebuilding,
            traceparent=traceparent_of(record.headers),
        )
        messages.append(
            Message(
                rules.alerts_topic,
                transaction.card_id.encode(),
                encode(alert),
                [*cloud_events_headers(alert), *trace_context(record.headers)],
                sent_at=record.timestamp,
            )
        )
    return messages


def scores(scored: Scored, rules: DecisionRules) -> list[Message]:
    """Build a message for every score, for evaluation and for other consumers."""
    if rules.scores_topic is None:
        return []
    messages = []
    for slot in range(len(scored.scores)):
        if scored.quiet(slot):
            continue
        transaction, _, partition = scored.source_of(slot)
        score = Score(
            transaction.tx_id,
            transaction.card_id,
            float(scored.scores[slot]),
            transaction.event_time,
            rules.model.name,
            rules.model.version,
        )
        messages.append(
            Message(
                rules.scores_topic, transaction.card_id.encode(), encode(score), partition=partition
            )
        )
    return messages

"""The labels agent: verdicts in, terminal risk profiles out (to the store, for the fraud agent)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.fraud.evidence import with_evidence
from models.fraud.features import new_card_state
from models.fraud.profile import FRAUD, GENUINE, LABEL, WITHDRAWN, apply_labels, tx_hash
from models.fraud.sequences import plan_sequences
from models.fraud.verdicts import TOO_LATE
from streams.pipeline.batch import Batch, Outcome
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decode import LabelRules, Rejected, decode
from streams.schemas import TransactionLabel, decode_label
from streams.state.cards import CardHistory
from streams.state.store import PartitionSnapshot
from streams.state.table import EntityTable, Frozen, pack

TOO_LATE_TO_TELL = (
    "too late: its terminal has so many newer verdicts that this one may have been counted already"
)

VERDICTS = {True: FRAUD, False: GENUINE, None: WITHDRAWN}


class LabelsDetector:
    """Folds each label into the profile of its terminal.

    There is no network here: `infer` only hands the outcome on. See
    `streams.pipeline.batch.Detector` for the contract of each method.
    """

    def __init__(
        self,
        *,
        terminals: EntityTable,
        cards: CardHistory,
        checks: LabelRules,
        dead_letters: DeadLetters,
    ) -> None:
        self._terminals, self._cards = terminals, cards
        self._checks, self._dead_letters = checks, dead_letters
        self.too_late = 0
        """Verdicts that came too late to change a profile."""

    def prepare(self, batch: Batch) -> Outcome:
        """Decode, load the terminals' rows, drop replays, apply."""
        # 1. Decode; labels on objects have no terminal and pass by.
        decoded = self._checks.check(decode(batch, decode_label), round(time.time() * 1000))
        labels, index = decoded.items, decoded.index
        outcome = self._dead_letters.outcome(batch, decoded.rejected)

        # 2. Rows of the terminals; drop what they have seen.
        offsets = np.array([batch.records[i].offset for i in index.tolist()], np.int64)
        rows, _ = self._terminals.find(
            [label.terminal_id for label in labels], batch.partitions[index], batch.sequence
        )
        fresh = offsets > self._terminals.offsets(rows)
        if not fresh.all():
            outcome.replayed = int(len(fresh) - fresh.sum())
            labels = [labels[i] for i in np.flatnonzero(fresh).tolist()]
            rows, offsets, index = rows[fresh], offsets[fresh], index[fresh]
        outcome.events = len(labels)

        # 3. Apply, in offset order by terminal. A verdict that came before changes nothing.
        plan = plan_sequences(rows)
        profiles, fates = apply_labels(
            plan, self._with_evidence(labels), self._terminals.state(plan.rows)
        )
        self._terminals.update(plan.rows, profiles, offsets[plan.packed[plan.last]])

        # 4. Who says fraud, or takes a verdict back, is told that it came too late to count.
        late = np.flatnonzero(fates == TOO_LATE).tolist()
        self.too_late += len(late)
        bad = [int(index[i]) for i in late if labels[i].is_fraud is not False]
        buried = self._dead_letters.outcome(
            batch, [Rejected(place, TOO_LATE_TO_TELL) for place in bad], step="apply"
        )
        outcome.messages += buried.messages
        outcome.dead_letters += buried.dead_letters
        return outcome

    def _with_evidence(self, labels: list[TransactionLabel]) -> NDArray[Any]:
        """Columns of N labels, (N,) LABEL; frauds with what their cards say about them."""
        columns = np.zeros(len(labels), LABEL)
        columns["tx"] = [tx_hash(label.tx_id) for label in labels]
        columns["event_time"] = [label.event_time for label in labels]
        columns["labelled_at"] = [label.labelled_at for label in labels]
        columns["amount"] = [label.amount for label in labels]
        columns["verdict"] = [VERDICTS[label.is_fraud] for label in labels]
        frauds = [place for place, label in enumerate(labels) if label.is_fraud]
        cards = new_card_state(len(labels))
        cards[frauds] = self._cards.find([labels[place].card_id for place in frauds])
        return with_evidence(columns, cards)

    def infer(self, prepared: Outcome) -> Outcome:
        """Nothing to infer."""
        return prepared

    def probe(self) -> None:
        """There is no device."""

    def reject(self, batch: Batch, reason: str) -> Outcome:
        """Bury labels that cannot be applied."""
        everything = [Rejected(place, reason) for place in range(len(batch.records))]
        return self._dead_letters.outcome(batch, everything, step="apply")

    def freeze(self, sequence: int) -> Frozen:
        """Copy the profiles that changed."""
        return self._terminals.freeze(sequence)

    def pack(self, frozen: Frozen, markers: Mapping[int, int]) -> Iterable[PartitionSnapshot]:
        """A profile is its row."""
        return pack(frozen, markers)

    def flushed(self, sequence: int) -> None:
        """Rows up to batch `sequence` may be evicted."""
        self._terminals.flushed(sequence)

    def drop(self, partitions: set[int] | None) -> None:
        """Forget terminals."""
        self._terminals.drop(partitions)

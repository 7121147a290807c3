"""The labels agent: verdicts in, terminal risk profiles out (to the store, for the fraud agent)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

import numpy as np

from models.fraud.profile import FRAUD, GENUINE, WITHDRAWN, apply_labels, tx_hash
from models.fraud.sequences import plan_sequences
from streams.pipeline.batch import Batch, Outcome
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decode import LabelRules, Rejected, decode
from streams.schemas import decode_label
from streams.state.store import PartitionSnapshot
from streams.state.table import EntityTable, Frozen, pack

VERDICTS = {True: FRAUD, False: GENUINE, None: WITHDRAWN}


class LabelsDetector:
    """Folds each label into the profile of its terminal.

    There is no network here: `infer` only hands the outcome on. See
    `streams.pipeline.batch.Detector` for the contract of each method.
    """

    def __init__(
        self, *, terminals: EntityTable, checks: LabelRules, dead_letters: DeadLetters
    ) -> None:
        self._terminals, self._checks, self._dead_letters = terminals, checks, dead_letters

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
            rows, offsets = rows[fresh], offsets[fresh]
        outcome.events = len(labels)

        # 3. Apply, in offset order by terminal. A stale verdict changes nothing.
        plan = plan_sequences(rows)
        profiles, _ = apply_labels(
            plan,
            tx=np.array([tx_hash(label.tx_id) for label in labels], np.uint64),
            event_time=np.array([label.event_time for label in labels], np.int64),
            labelled_at=np.array([label.labelled_at for label in labels], np.int64),
            verdict=np.array([VERDICTS[label.is_fraud] for label in labels], np.int8),
            profiles=self._terminals.state(plan.rows),
        )
        self._terminals.update(plan.rows, profiles, offsets[plan.packed[plan.last]])
        return outcome

    def infer(self, prepared: Outcome) -> Outcome:
        """Nothing to infer."""
        return prepared

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

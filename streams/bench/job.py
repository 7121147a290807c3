"""The fraud job as a single program would do it, with all state in the memory of the process.

The features and the network are those of Tocsin, from `models.fraud`. There is no store, no
eviction, no replay guard, no dead letter and no explanation: this is the least that scores right.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models.fraud.features import card_features, new_card_state, terminal_hash
from models.fraud.network import load_fraud
from models.fraud.profile import new_profiles, profile_features, summarise
from models.fraud.sequences import plan_sequences
from streams.schemas import Score, Transaction, decode_transaction, encode

FIRST_CAPACITY = 8192
"""Rows to begin with; the arrays double when they are full."""

Alert = tuple[bytes, bytes]
"""Key and value of the record to produce."""


class Job:
    """Scores batches of encoded transactions; one thread."""

    def __init__(self, model: Path | None, threshold: float | None) -> None:
        torch.set_num_threads(1)  # the broker needs the other core
        self._network, manifest = load_fraud(model)
        self._name, self._version = manifest.name, manifest.version
        self._threshold = manifest.threshold if threshold is None else threshold
        self._row_of: dict[str, int] = {}
        self._state = new_card_state(FIRST_CAPACITY)
        self._memory = torch.zeros(FIRST_CAPACITY, self._network.config.hidden)
        self._terminal_of: dict[str, int] = {}
        self._terminal_hash = np.zeros(FIRST_CAPACITY, np.uint32)
        self._unknown = summarise(new_profiles(1), self._network.config.large_amount)
        self._profile = np.repeat(self._unknown, FIRST_CAPACITY)
        self.events = self.alerts = 0

    def run(self, values: Sequence[bytes]) -> list[Alert]:
        """Score a batch, each card's events in order, and return the alerts."""
        # 1. Decode, find the rows.
        batch = list(map(decode_transaction, values))
        amount = np.array([item.amount for item in batch])
        event_time = np.array([item.event_time for item in batch], np.int64)
        rows = self._rows([item.card_id for item in batch])
        terminals = self._terminals([item.terminal_id for item in batch])

        # 2. Features; the cards' state advances.
        plan = plan_sequences(rows)
        x, state = card_features(
            plan,
            amount=amount,
            event_time=event_time,
            terminal=self._terminal_hash[terminals],
            state=self._state[plan.rows],
        )
        self._state[plan.rows] = state
        risk = profile_features(self._profile[terminals[plan.packed]], event_time[plan.packed])

        # 3. The network; the cards' memory advances.
        index = torch.from_numpy(plan.rows)
        scores, memory = self._network.step(
            torch.from_numpy(x),
            torch.from_numpy(plan.sizes),
            self._memory.index_select(0, index),
            torch.from_numpy(risk),
        )
        self._memory.index_copy_(0, index, memory)

        # 4. Alerts.
        found = self._alerts(batch, plan.packed, scores.numpy())
        self.events += len(batch)
        self.alerts += len(found)
        return found

    def _alerts(
        self, batch: list[Transaction], packed: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> list[Alert]:
        found = []
        for slot in np.flatnonzero(scores >= self._threshold).tolist():
            item, score = batch[packed[slot]], float(scores[slot])
            alert = Score(
                item.tx_id, item.card_id, score, item.event_time, self._name, self._version
            )
            found.append((item.card_id.encode(), encode(alert)))
        return found

    def _rows(self, cards: list[str]) -> NDArray[np.int64]:
        known = self._row_of
        try:
            return np.fromiter(map(known.__getitem__, cards), np.int64, len(cards))
        except KeyError:
            for card in cards:
                known.setdefault(card, len(known))
        while len(known) > len(self._state):
            self._state = np.concatenate([self._state, new_card_state(len(self._state))])
            self._memory = torch.cat([self._memory, torch.zeros_like(self._memory)])
        return np.fromiter(map(known.__getitem__, cards), np.int64, len(cards))

    def _terminals(self, names: list[str]) -> NDArray[np.int64]:
        known = self._terminal_of
        try:
            return np.fromiter(map(known.__getitem__, names), np.int64, len(names))
        except KeyError:
            new = [name for name in dict.fromkeys(names) if name not in known]
        first = len(known)
        known.update(zip(new, range(first, first + len(new)), strict=True))
        while len(known) > len(self._profile):
            more = np.repeat(self._unknown, len(self._profile))
            self._profile = np.concatenate([self._profile, more])
            self._terminal_hash = np.concatenate(
                [self._terminal_hash, np.zeros_like(self._terminal_hash)]
            )
        self._terminal_hash[first : len(known)] = [terminal_hash(name) for name in new]
        return np.fromiter(map(known.__getitem__, names), np.int64, len(names))

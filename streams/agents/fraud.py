"""The fraud agent: transactions in, fraud alerts out. Start reading here.

`FraudDetector` holds the two halves of the data path as `streams.pipeline.delivery` runs them:
`prepare` on one thread, `infer` on another, one batch behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.fraud.features import card_features, large_before
from models.fraud.network import FraudNetwork, memory_before
from models.fraud.profile import profile_features
from models.fraud.sequences import SequencePlan, plan_sequences
from streams.alerts.explanation import Explanation, explain
from streams.pipeline.batch import Batch, Outcome
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decide import DecisionRules, Scored, alerts, scores
from streams.pipeline.decode import Rejected, TransactionRules, decode
from streams.pipeline.drift import DriftWatch
from streams.pipeline.policy import AlertPolicy
from streams.schemas import Transaction, decode_transaction
from streams.state.hidden import HiddenStates
from streams.state.store import PartitionSnapshot
from streams.state.table import EntityTable, Frozen, Loaded, pack
from streams.state.terminals import TerminalProfiles


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch between its two halves: N of its transactions are left, over U cards."""

    batch: Batch
    transactions: list[Transaction]
    index: NDArray[np.int64]  # (N,) place in the batch
    plan: SequencePlan
    event_time: NDArray[np.int64]  # (N,) packed, ms
    cards: NDArray[Any]  # (U,) CARD_STATE before the batch
    x: NDArray[np.float32]  # (N, F) packed
    risk: NDArray[np.float32]  # (N, P) packed
    terminals: NDArray[Any]  # (N,) PROFILE_SUMMARY packed
    loaded: Loaded | None
    outcome: Outcome


class FraudDetector:
    """Scores transactions with the card's memory and the terminal's risk profile.

    See `streams.pipeline.batch.Detector` for the contract of each method.
    """

    def __init__(
        self,
        *,
        cards: EntityTable,
        memory: HiddenStates,
        terminals: TerminalProfiles,
        network: FraudNetwork,
        checks: TransactionRules,
        dead_letters: DeadLetters,
        rules: DecisionRules,
        policy: AlertPolicy,
        drift: DriftWatch,
        is_rebuilding: Callable[[], bool],
    ) -> None:
        self._cards, self._memory, self._terminals = cards, memory, terminals
        self._network, self._rules, self._policy = network, rules, policy
        self._drift = drift
        self._checks, self._dead_letters = checks, dead_letters
        self._is_rebuilding = is_rebuilding

    def prepare(self, batch: Batch) -> Prepared:
        """Decode, load the cards' rows, drop replays, compute features, look terminals up."""
        # 1. Decode; what is malformed or absurd becomes a dead letter.
        decoded = decode(batch, decode_transaction)
        decoded, amount, event_time = self._checks.check(decoded, round(time.time() * 1000))
        outcome = self._dead_letters.outcome(batch, decoded.rejected)

        # 2. Rows of the cards, from memory or from the store.
        index, transactions = decoded.index, decoded.items
        offsets = np.array([record.offset for record in batch.records], np.int64)[index]
        rows, loaded = self._cards.find(
            [transaction.card_id for transaction in transactions],
            batch.partitions[index],
            batch.sequence,
        )

        # 3. Drop what the rows have seen: it was applied, and published, before a crash.
        fresh = offsets > self._cards.offsets(rows)
        if not fresh.all():
            outcome.replayed = int(len(fresh) - fresh.sum())
            transactions = [transactions[i] for i in np.flatnonzero(fresh).tolist()]
            index, rows, offsets = index[fresh], rows[fresh], offsets[fresh]
            amount, event_time = amount[fresh], event_time[fresh]
        outcome.events = len(transactions)

        # 4. Features of the card, in offset order; its row advances.
        plan = plan_sequences(rows)
        view = self._terminals.view(
            [transaction.terminal_id for transaction in transactions], event_time, plan.packed
        )
        cards = self._cards.state(plan.rows)
        x, state = card_features(
            plan,
            amount=amount,
            event_time=event_time,
            terminal=view.hashes,
            state=cards,
        )
        self._cards.update(plan.rows, state, offsets[plan.packed[plan.last]])

        # 5. Features of the terminal, as it was known at the time of the transaction.
        time_packed = event_time[plan.packed]
        risk = profile_features(view.summary, time_packed)
        return Prepared(
            batch=batch,
            transactions=transactions,
            index=index,
            plan=plan,
            event_time=time_packed,
            cards=cards,
            x=x,
            risk=risk,
            terminals=view.summary,
            loaded=loaded,
            outcome=outcome,
        )

    def infer(self, prepared: Prepared) -> Outcome:
        """Run the network over the batch, keep the cards' new memory, decide."""
        # 1. Score, wave by wave in one call.
        plan, outcome = prepared.plan, prepared.outcome
        self._memory.put(prepared.loaded)
        before = self._memory.take(plan.rows)
        x, risk = self._memory.on_device(prepared.x), self._memory.on_device(prepared.risk)
        score, memory, after = self._network.trace(x, torch.from_numpy(plan.sizes), before, risk)
        values = score.cpu().numpy()
        _check_finite(values)
        self._memory.keep(plan.rows, after)

        # 2. Decide and say why.
        scored = Scored(prepared.batch, prepared.transactions, prepared.index, plan.packed, values)
        homes = prepared.batch.partitions[prepared.index[plan.packed]]
        limits = self._policy.thresholds(values, prepared.event_time, homes)
        self._drift.count(prepared.event_time, prepared.x, prepared.risk, values)

        def explained(slots: NDArray[np.int64]) -> list[Explanation]:
            return explain(
                self._network,
                [scored.source_of(slot)[0] for slot in slots.tolist()],
                x=x[slots],
                risk=risk[slots],
                hidden=memory_before(slots, plan, before, memory),
                terminals=prepared.terminals[slots],
                large=[
                    large_before(plan, prepared.cards, prepared.x, prepared.event_time, slot)
                    for slot in slots.tolist()
                ],
            )

        raised = alerts(scored, self._rules, limits, explained, rebuilding=self._is_rebuilding())
        outcome.alerts = len(raised)
        outcome.messages += raised + scores(scored, self._rules)
        return outcome

    def probe(self) -> None:
        """Score a transaction of a card without a past that says nothing."""
        config = self._network.config
        x, hidden, risk = (
            self._memory.on_device(np.zeros((1, size), np.float32))
            for size in (config.card_features, config.hidden, config.profile_features)
        )
        score, *_ = self._network.trace(x, torch.ones(1, dtype=torch.int64), hidden, risk)
        _check_finite(score.cpu().numpy())

    def reject(self, batch: Batch, reason: str) -> Outcome:
        """Bury records that cannot be scored."""
        everything = [Rejected(place, reason) for place in range(len(batch.records))]
        return self._dead_letters.outcome(batch, everything, step="score")

    def freeze(self, sequence: int) -> Frozen:
        """Copy the rows of the cards that changed."""
        return self._cards.freeze(sequence)

    def pack(self, frozen: Frozen, markers: Mapping[int, int]) -> Iterable[PartitionSnapshot]:
        """Append each card's memory to its row, and add what the alert policy remembers."""
        snapshots = pack(frozen, markers, tail=self._memory.bytes_of(frozen.rows))
        return self._policy.stored(snapshots)

    def flushed(self, sequence: int) -> None:
        """Rows up to batch `sequence` may be evicted."""
        self._cards.flushed(sequence)

    def drop(self, partitions: set[int] | None) -> None:
        """Forget cards; their memory is overwritten when the row is used again."""
        self._cards.drop(partitions)
        self._policy.drop(partitions)


def _check_finite(scores: NDArray[np.float32]) -> None:
    """Scores (N,) that are no numbers are a failure: no threshold would notice them."""
    if not np.isfinite(scores).all():
        raise FloatingPointError("the network's score is not finite")

"""The offline pass: what the network would have seen, had it served a history as it happened.

It calls the functions that serving calls, on larger batches: all card features in one batch, labels
and profiles day by day. A test holds it to a loop over arbitrary batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.fraud.features import card_features, new_card_state, terminal_hash
from models.fraud.network import FraudNetwork
from models.fraud.profile import (
    PROFILE_FEATURES,
    apply_labels,
    new_profiles,
    profile_features,
    summarise,
    tx_hash,
)
from models.fraud.sequences import plan_sequences
from models.fraud.transactions import Transactions

DAY_MS = 86_400_000
_SCORED_AT_ONCE = 1 << 18  # bounds memory: 256 B of GRU output an event


@dataclass(frozen=True, slots=True)
class Dataset:
    """The inputs of N transactions in order of time.

    Attributes:
        transactions: the N transactions.
        cards: (N,) int64 dense card numbers.
        x: (N, F) float32 card features.
        risk: (N, P) float32 profile features, from the labels known at each transaction.
    """

    transactions: Transactions
    cards: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    risk: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cards)


def build(transactions: Transactions, label_delay_days: float | None = 7.0) -> Dataset:
    """Compute the inputs of a history.

    Args:
        transactions: in order of time.
        label_delay_days: when every verdict, fraud or genuine, becomes known after its
            transaction; None for a world without labels.
    """
    cards, number = transactions.card_codes()
    plan = plan_sequences(cards)
    terminals = transactions.terminal_codes()[0]
    names = np.unique(transactions.terminal_id)
    hashes = np.array([terminal_hash(str(name)) for name in names.tolist()], np.uint32)
    packed, _ = card_features(
        plan,
        amount=transactions.amount,
        event_time=transactions.event_time,
        terminal=hashes[terminals],
        state=new_card_state(number),
    )
    x = np.empty_like(packed)
    x[plan.packed] = packed
    return Dataset(transactions, cards, x, _risk(transactions, terminals, label_delay_days))


def _risk(
    transactions: Transactions, terminals: npt.NDArray[np.int64], delay_days: float | None
) -> npt.NDArray[np.float32]:
    """(N, P) profile features, day by day: a day's labels first, then its transactions as of."""
    time = transactions.event_time
    tx = np.array([tx_hash(str(name)) for name in transactions.tx_id.tolist()], np.uint64)
    verdict = transactions.is_fraud.astype(np.int8)
    delay_ms = None if delay_days is None else int(delay_days * DAY_MS)
    profiles = new_profiles(int(terminals.max(initial=-1)) + 1)
    risk = np.empty((len(time), len(PROFILE_FEATURES)), np.float32)
    labelled = 0
    for begin, end in _days(time):
        if delay_ms is not None:
            known = int(np.searchsorted(time, time[end - 1] - delay_ms, side="right"))
            fresh = slice(labelled, known)
            plan = plan_sequences(terminals[fresh])
            profiles[plan.rows], _ = apply_labels(
                plan,
                tx=tx[fresh],
                event_time=time[fresh],
                labelled_at=time[fresh] + delay_ms,
                verdict=verdict[fresh],
                profiles=profiles[plan.rows],
            )
            labelled = known
        day = slice(begin, end)
        risk[day] = profile_features(summarise(profiles[terminals[day]], time[day]), time[day])
    return risk


def _days(time: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where each UTC day that has transactions begins and ends."""
    edges = np.flatnonzero(np.diff(time // DAY_MS, prepend=np.iinfo(np.int64).min))
    ends = np.append(edges[1:], len(time))[: len(edges)]
    yield from zip(edges.tolist(), ends.tolist(), strict=True)


def offline_scores(network: FraudNetwork, data: Dataset) -> npt.NDArray[np.float32]:
    """Scores of all N transactions in order of time, every card's memory carried through."""
    network.eval()
    device = next(network.parameters()).device
    cards = int(data.cards.max(initial=-1)) + 1
    hidden = torch.zeros(cards, network.config.hidden, device=device)
    scores = np.empty(len(data), np.float32)
    for begin in range(0, len(data), _SCORED_AT_ONCE):
        plan = plan_sequences(data.cards[begin : begin + _SCORED_AT_ONCE])
        at, rows = plan.packed + begin, torch.from_numpy(plan.rows).to(device)
        out, hidden[rows] = network.step(
            torch.from_numpy(data.x[at]).to(device),
            torch.from_numpy(plan.sizes),
            hidden[rows],
            torch.from_numpy(data.risk[at]).to(device),
        )
        scores[at] = out.cpu().numpy()
    return scores

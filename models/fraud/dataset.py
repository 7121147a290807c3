"""The offline pass: what the network would have seen, had it served a history as it happened.

It calls the functions that serving calls, day by day. A test holds it to a loop over arbitrary
batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from models.fraud.evidence import with_evidence
from models.fraud.features import CARD_FEATURES, card_features, new_card_state, terminal_hash
from models.fraud.network import FraudNetwork, memory_before
from models.fraud.profile import (
    FRAUD,
    GENUINE,
    LABEL,
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
What = Literal["score", "novelty", "surprise"]
UNLABELLED = np.iinfo(np.int64).max
"""`labelled_at` of a transaction that never gets a verdict: later than any time."""

_LEAST_LARGE = 20  # fewer transactions than this prove nothing about an amount
_SCORED_AT_ONCE = 1 << 18  # bounds memory: 256 B of GRU output an event


@dataclass(frozen=True, slots=True)
class Dataset:
    """The inputs of N transactions in order of time.

    Attributes:
        transactions: the N transactions.
        cards: (N,) int64 dense card numbers.
        x: (N, F) float32 card features.
        risk: (N, P) float32 profile features, from the labels known at each transaction.
        large_amount: from which on an amount alone explains a fraud.
    """

    transactions: Transactions
    cards: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    risk: npt.NDArray[np.float32]
    large_amount: float

    def __len__(self) -> int:
        return len(self.cards)


def build(
    transactions: Transactions,
    large_amount: float,
    labelled_at: npt.NDArray[np.int64] | None = None,
) -> Dataset:
    """Compute the inputs of a history, day by day: a day's labels first, then its transactions.

    Args:
        transactions: N of them, in order of time.
        large_amount: from which on an amount alone explains a fraud.
        labelled_at: (N,) int64 ms, when the verdict on each became known, `UNLABELLED` if never;
            None for a week after the transaction, see `verdict_times`.
    """
    cards, number = transactions.card_codes()
    terminals, places = transactions.terminal_codes()
    time, amount = transactions.event_time, transactions.amount
    names = np.unique(transactions.terminal_id)
    hashes = np.array([terminal_hash(str(name)) for name in names.tolist()], np.uint32)[terminals]
    labels = _labels(transactions, verdict_times(time) if labelled_at is None else labelled_at)
    arrival = np.argsort(labels["labelled_at"], kind="stable")
    arrived = labels["labelled_at"][arrival]

    state, profiles = new_card_state(number), new_profiles(places)
    x = np.empty((len(time), len(CARD_FEATURES)), np.float32)
    risk = np.empty((len(time), len(PROFILE_FEATURES)), np.float32)
    known = 0
    for begin, end in _days(time):
        # 1. The labels that become known on this day, with what their cards say: up to midnight, as
        # a replay in lockstep sends them, whenever the day's last transaction is.
        midnight = (time[end - 1] // DAY_MS + 1) * DAY_MS
        upto = int(np.searchsorted(arrived, midnight))
        fresh = arrival[known:upto]
        plan = plan_sequences(terminals[fresh])
        new = with_evidence(labels[fresh], state[cards[fresh]])
        profiles[plan.rows], _ = apply_labels(plan, new, profiles[plan.rows])
        known = upto
        # 2. Its transactions.
        day = slice(begin, end)
        plan = plan_sequences(cards[day])
        packed, state[plan.rows] = card_features(
            plan,
            amount=amount[day],
            event_time=time[day],
            terminal=hashes[day],
            state=state[plan.rows],
        )
        x[plan.packed + begin] = packed
        risk[day] = _risk(profiles, terminals[day], time[day], large_amount)
    return Dataset(transactions, cards, x, risk, large_amount)


def verdict_times(
    event_time: npt.NDArray[np.int64], delay_days: float = 7.0
) -> npt.NDArray[np.int64]:
    """(N,) ms: when the verdicts on transactions become known that all take `delay_days`."""
    return event_time + int(delay_days * DAY_MS)


def large_amount(transactions: Transactions) -> float:
    """From which amount on nine in ten transactions are frauds, whoever pays where.

    To two significant digits, so that it moves only when the world does; infinite if there is no
    such amount.
    """
    falling = np.argsort(-transactions.amount, kind="stable")
    frauds = np.cumsum(transactions.is_fraud[falling])
    mostly = np.flatnonzero(10 * frauds >= 9 * np.arange(1, len(falling) + 1))
    if not len(mostly) or mostly[-1] < _LEAST_LARGE:
        return math.inf
    return float(f"{transactions.amount[falling[mostly[-1]]]:.1e}")


def _labels(transactions: Transactions, labelled_at: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """(N,) LABEL, still without evidence."""
    labels = np.zeros(len(transactions), LABEL)
    labels["tx"] = [tx_hash(str(name)) for name in transactions.tx_id.tolist()]
    labels["event_time"] = transactions.event_time
    labels["labelled_at"] = labelled_at
    labels["amount"] = transactions.amount
    labels["verdict"] = np.where(transactions.is_fraud, FRAUD, GENUINE)
    return labels


def _risk(
    profiles: npt.NDArray[Any],
    terminals: npt.NDArray[np.int64],
    time: npt.NDArray[np.int64],
    large_amount: float,
) -> npt.NDArray[np.float32]:
    """(B, P) profile features of B transactions, each as of its own time."""
    seen, place = np.unique(terminals, return_inverse=True)
    summary = summarise(profiles[seen], large_amount)[place]
    early = np.flatnonzero(summary["newest"] > time)
    summary[early] = summarise(profiles[terminals[early]], large_amount, time[early])
    return profile_features(summary, time)


def _days(time: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Where each UTC day that has transactions begins and ends."""
    edges = np.flatnonzero(np.diff(time // DAY_MS, prepend=np.iinfo(np.int64).min))
    ends = np.append(edges[1:], len(time))[: len(edges)]
    yield from zip(edges.tolist(), ends.tolist(), strict=True)


def offline_scores(
    network: FraudNetwork, data: Dataset, what: What = "score"
) -> npt.NDArray[np.float32]:
    """One value for each of N transactions in order of time, every card's memory carried through.

    Args:
        network: that scores.
        data: its inputs.
        what: ``score``, ``novelty``, or ``surprise``, of which novelty is the rank.
    """
    network.eval()
    device = next(network.parameters()).device
    cards = int(data.cards.max(initial=-1)) + 1
    hidden = torch.zeros(cards, network.config.hidden, device=device)
    scores = np.empty(len(data), np.float32)
    for begin in range(0, len(data), _SCORED_AT_ONCE):
        plan = plan_sequences(data.cards[begin : begin + _SCORED_AT_ONCE])
        at, rows = plan.packed + begin, torch.from_numpy(plan.rows).to(device)
        x, before = torch.from_numpy(data.x[at]).to(device), hidden[rows]
        risk = torch.from_numpy(data.risk[at]).to(device)
        out, memory, hidden[rows] = network.trace(x, torch.from_numpy(plan.sizes), before, risk)
        if what != "score":
            before = memory_before(np.arange(len(at)), plan, before, memory)
            with torch.inference_mode():
                out = network.surprise(before, x)
                out = network.rank(out) if what == "novelty" else out
        scores[at] = out.cpu().numpy()
    return scores

"""Reasons of a fraud alert in words: what drove the score, with the raw evidence beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.fraud.explanation import GROUPS, contributions
from models.fraud.features import CARD_FEATURES
from models.fraud.network import FraudNetwork
from models.fraud.profile import NEVER
from streams.schemas import Reason, Scalar, Transaction

LEAST = 0.01
"""A group that moves the score by less than this is no reason."""

HOUR_MS, DAY_MS = 3_600_000, 86_400_000

Words = tuple[str, dict[str, Scalar]]


def reasons(
    network: FraudNetwork,
    transactions: Sequence[Transaction],
    *,
    x: torch.Tensor,
    risk: torch.Tensor,
    hidden: torch.Tensor,
    terminals: NDArray[Any],
) -> list[list[Reason]]:
    """Explain K alerts, the strongest reason of each first.

    Args:
        network: that scored them.
        transactions: K of them.
        x: (K, F) card features.
        risk: (K, P) profile features.
        hidden: (K, H) memory before each transaction.
        terminals: (K,) PROFILE_SUMMARY.
    """
    falls = contributions(network, x, risk, hidden)  # (K, G)
    features = x.cpu().numpy()
    found = []
    for k, transaction in enumerate(transactions):
        named = [
            _reason(code, fall, transaction, features[k], terminals[k])
            for code, fall in zip(GROUPS, falls[k].tolist(), strict=True)
            if fall >= LEAST
        ]
        found.append(sorted(named, key=lambda reason: -reason.contribution))
    return found


def _reason(
    code: str,
    fall: float,
    transaction: Transaction,
    x: NDArray[np.float32],
    terminal: NDArray[Any],
) -> Reason:
    feature = dict(zip(CARD_FEATURES, x.tolist(), strict=True))
    if code == "amount":
        text, evidence = _amount(transaction, feature)
    elif code == "timing":
        text, evidence = _timing(transaction, feature)
    elif code == "card_history":
        text, evidence = _card(feature)
    else:
        text, evidence = _terminal(transaction, terminal)
    return Reason(code, text, fall, evidence)


def _amount(transaction: Transaction, feature: dict[str, float]) -> Words:
    times = math.exp(feature["amount_ratio"])
    usual = (1.0 + transaction.amount) / times - 1.0
    text = f"{times:.1f} times the card's usual amount"
    if feature["log_count"] == 0:
        text = f"{transaction.amount:.2f} {transaction.currency} on a card without history"
    return text, {
        "amount": transaction.amount,
        "usual_amount": round(max(usual, 0.0), 2),
        "times_usual": round(times, 2),
    }


def _timing(transaction: Transaction, feature: dict[str, float]) -> Words:
    hour = transaction.event_time % DAY_MS // HOUR_MS
    gap_s = math.expm1((feature["log_gap"] + 2.5) * 4.0)
    return f"at {hour:02d}:00 UTC, {_span(gap_s)} after the card's previous transaction", {
        "hour_utc": int(hour),
        "seconds_since_previous": round(gap_s, 1),
    }


def _card(feature: dict[str, float]) -> Words:
    count = round(math.expm1(feature["log_count"] * 4.0))
    return f"the pattern of the card's last transactions ({count} known)", {"transactions": count}


def _terminal(transaction: Transaction, terminal: NDArray[Any]) -> Words:
    name, frauds = transaction.terminal_id, int(terminal["frauds"])
    evidence: dict[str, Scalar] = {
        "terminal_id": name,
        "known_frauds": frauds,
        "known_labels": int(terminal["labels"]),
    }
    last = int(terminal["last_fraud"])
    if last == NEVER:
        return f"terminal {name}: {evidence['known_labels']} labels, none a fraud", evidence
    age_s = max(transaction.event_time - last, 0) / 1000
    evidence["seconds_since_known_fraud"] = age_s
    return f"terminal {name}: {frauds} confirmed frauds, the last {_span(age_s)} before", evidence


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"

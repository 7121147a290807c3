"""What is said beside a fraud's score: the reasons in words, with the raw evidence, and novelty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.fraud.explanation import GROUPS, contributions
from models.fraud.features import CARD_FEATURES, LARGE_RATIO
from models.fraud.network import FraudNetwork
from models.fraud.profile import DAYS, LONG_AGO
from streams.schemas import Reason, Scalar, Transaction

LEAST = 0.01
"""A group that raises the score by less than this is no reason."""

MINUTE_MS, DAY_MS = 60_000, 86_400_000
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

RECENT_DAYS = 10
"""How far back a card's large payments are told."""

Large = tuple[NDArray[np.int64], NDArray[np.float32]]
"""(K,) ms and (K,) times the card's usual amount: large payments that a card remembers."""

Words = tuple[str, dict[str, Scalar]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one alert."""

    reasons: list[Reason]
    """The strongest first."""

    novelty: float
    """Share of transactions that were less unlike their card, in [0, 1]; no label enters it."""


def explain(
    network: FraudNetwork,
    transactions: Sequence[Transaction],
    *,
    x: torch.Tensor,
    risk: torch.Tensor,
    hidden: torch.Tensor,
    terminals: NDArray[Any],
    large: Sequence[Large],
) -> list[Explanation]:
    """Explain K alerts.

    Args:
        network: that scored them.
        transactions: K of them.
        x: (K, F) card features.
        risk: (K, P) profile features.
        hidden: (K, H) memory before each transaction.
        terminals: (K,) PROFILE_SUMMARY.
        large: K times what the card had paid before.
    """
    rises = contributions(network, x, risk, hidden)  # (K, G)
    features = x.cpu().numpy()
    with torch.inference_mode():
        novelty = network.rank(network.surprise(hidden, x)).tolist()  # (K,)
    found = []
    for k, transaction in enumerate(transactions):
        named = []
        for code, rise in zip(GROUPS, rises[k].tolist(), strict=True):
            if rise >= LEAST:
                text, evidence = _words(code, transaction, features[k], terminals[k], large[k])
                named.append(Reason(code, text, rise, evidence))
        named.sort(key=lambda reason: -reason.contribution)
        found.append(Explanation(named, round(novelty[k], 4)))
    return found


def _words(
    code: str,
    transaction: Transaction,
    x: NDArray[np.float32],
    terminal: NDArray[Any],
    large: Large,
) -> Words:
    feature = dict(zip(CARD_FEATURES, x.tolist(), strict=True))
    if code == "amount":
        return _amount(transaction, feature)
    if code == "gap":
        return _gap(feature)
    if code == "hour":
        return _hour(transaction)
    if code == "card_history":
        return _card(transaction, feature, large)
    return _terminal(transaction, terminal)


def _amount(transaction: Transaction, feature: dict[str, float]) -> Words:
    usual = math.exp(feature["usual_amount"] + 3.8)
    times = transaction.amount / usual
    text = f"{times:.1f} times the card's usual amount"
    if feature["log_count"] == 0:
        text = f"{transaction.amount:.2f} {transaction.currency} on a card without history"
    return text, {
        "amount": transaction.amount,
        "usual_amount": round(usual, 2),
        "times_usual": round(times, 2),
    }


def _gap(feature: dict[str, float]) -> Words:
    if feature["log_count"] == 0:
        return "the card's first transaction", {"transactions": 0}
    gap_s = math.expm1((feature["log_gap"] + 2.5) * 4.0)
    return f"{_span(gap_s)} after the card's previous transaction", {
        "seconds_since_previous": round(gap_s, 1)
    }


def _hour(transaction: Transaction) -> Words:
    minute = transaction.event_time % DAY_MS // MINUTE_MS
    weekday = WEEKDAYS[(transaction.event_time // DAY_MS + 3) % 7]  # the epoch was a Thursday
    return f"on a {weekday} at {minute // 60:02d}:{minute % 60:02d} UTC", {
        "weekday": weekday,
        "hour_utc": minute // 60,
    }


def _card(transaction: Transaction, feature: dict[str, float], large: Large) -> Words:
    count = round(math.expm1(feature["log_count"] * 4.0))
    times, ratios = large
    ages = transaction.event_time - times
    recent = ratios[(ages >= 0) & (ages <= RECENT_DAYS * DAY_MS)]
    evidence: dict[str, Scalar] = {
        "transactions": count,
        f"large_in_{RECENT_DAYS}_days": len(recent),
    }
    if not len(recent):
        return f"the pattern of the card's last transactions ({count} known)", evidence
    largest = round(float(recent.max()), 1)
    payments = "1 payment" if len(recent) == 1 else f"{len(recent)} payments"
    most = "" if len(recent) == 1 else "the largest "
    return (
        f"{payments} of at least {LARGE_RATIO:g} times the card's usual amount in the "
        f"{RECENT_DAYS} days before, {most}{largest:g} times ({count} transactions known)"
    ), {**evidence, "largest_times_usual": largest}


def _terminal(transaction: Transaction, terminal: NDArray[Any]) -> Words:
    name, labels = transaction.terminal_id, int(terminal["labels"])
    evidence: dict[str, Scalar] = {
        "terminal_id": name,
        "known_frauds": int(terminal["frauds"]),
        "known_labels": labels,
    }
    days = dict(zip(DAYS, terminal["day"].tolist(), strict=True))
    if days["last_fraud"] == LONG_AGO:
        return f"terminal {name}: {labels} labels, none a fraud", evidence
    run, today = int(terminal["run"]), transaction.event_time // DAY_MS
    first, last = days["run_start"], days["last_fraud"]
    evidence |= {
        "frauds_in_a_row": run,
        "explained_by_card_or_amount": run - int(terminal["unexplained"]),
        "days_since_first": today - first,
        "days_since_last": today - last,
    }
    if run == 1:
        return f"terminal {name}: 1 confirmed fraud, {_ago(today - last)}", evidence
    return (
        f"terminal {name}: {run} confirmed frauds in a row in {_count(last - first + 1)}, "
        f"first {_ago(today - first)}"
    ), evidence


def _ago(days: int) -> str:
    return f"{_count(days)} ago" if days > 0 else "today"


def _count(days: int) -> str:
    return f"{days} day" if days == 1 else f"{days} days"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    whole = round(seconds)
    return "1 second" if whole == 1 else f"{whole} seconds"

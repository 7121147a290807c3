"""Training: from a history of transactions to a network and a manifest that vouches for it.

The last weeks are held out, and between them and the training part lies the delay of the labels: as
on the day of the split, nothing is learned from a verdict that nobody had yet.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.checkpoint import Manifest
from models.errors import DataError
from models.fraud.calibration import Platt, expected_calibration_error, fit_platt
from models.fraud.dataset import (
    DAY_MS,
    UNLABELLED,
    Dataset,
    build,
    large_amount,
    offline_scores,
    verdict_times,
)
from models.fraud.drift import reference_of
from models.fraud.evaluation import average_precision, roc_auc
from models.fraud.features import CARD_FEATURES
from models.fraud.fitting import FitConfig, OnProgress, fit
from models.fraud.network import FEATURES, FraudNetwork, FraudNetworkConfig, config_fields
from models.fraud.profile import PROFILE_FEATURES
from models.fraud.transactions import Transactions

_WATCHED_OF_CARD = ("log_amount", "times_usual", "log_gap")
_WATCHED_OF_TERMINAL = ("log_run", "risk_30d", "log_labels_30d")

__all__ = ["FitConfig", "OnProgress", "TrainingConfig", "inputs", "train", "train_network"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train, and what the manifest will say about the data."""

    name: str = "fraud"
    version: str = "2"
    network: FraudNetworkConfig = field(default_factory=FraudNetworkConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    warmup_days: float = 30.0
    """Not learned from: profiles and memories are still filling."""
    holdout_days: float = 28.0
    label_delay_days: float = 7.0
    alert_share: float = 0.006
    """Share of transactions that the suggested threshold lets through as alerts."""
    data: Mapping[str, str | int | float] = field(default_factory=dict)
    """Where the transactions came from: a simulator's config, a file's name."""


def train(
    transactions: Transactions,
    config: TrainingConfig,
    *,
    labelled_at: npt.NDArray[np.int64] | None = None,
    checkpoint: Path | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[FraudNetwork, Manifest]:
    """Train a network on a history and measure it on the part held out.

    Deterministic for a seed on one machine and one number of torch threads. The manifest still
    lacks the checksum, which `checkpoint.save` fills in.

    Args:
        transactions: N of them, in order of time.
        config: how to train.
        labelled_at: (N,) int64 ms, when each got its verdict, `UNLABELLED` if never; None for all
            after `config.label_delay_days`.
        checkpoint: see `models.fraud.fitting.fit`.
        on_progress: likewise.

    Raises:
        DataError: the history is too short, or has no fraud to learn from; or the checkpoint
            belongs to another training.
    """
    began = time.monotonic()
    # 1. Split by time: what had its verdict when the held-out days began may be learned from.
    clock = transactions.event_time
    start, end = (int(clock[0]), int(clock[-1]) + 1) if len(clock) else (0, 0)
    if labelled_at is None:
        labelled_at = verdict_times(clock, config.label_delay_days)
    holdout = end - int(config.holdout_days * DAY_MS)
    first = start + int(config.warmup_days * DAY_MS)
    learned = (clock >= first) & (labelled_at < holdout)
    held = (clock >= holdout) & (labelled_at != UNLABELLED)
    # 2. Learn.
    data = inputs(transactions, learned, labelled_at)
    network, curve = train_network(
        data, learned, config, checkpoint=checkpoint, on_progress=on_progress
    )
    # 3. Make probabilities of the scores, by the first half of what came later.
    middle = clock < holdout + (end - holdout) // 2
    raw = offline_scores(network, data)
    platt = _calibrated(network, transactions.is_fraud, raw, held & middle)
    # 4. Measure on what came later, and once more as if genuine transactions never got a verdict.
    truth, scores = transactions.is_fraud[held], platt(raw[held]).astype(np.float32)
    threshold = float(np.quantile(scores, 1.0 - config.alert_share))
    metrics = _metrics(truth, scores, threshold)
    late = held & ~middle
    metrics["ece"] = expected_calibration_error(transactions.is_fraud[late], platt(raw[late]))
    metrics["ece_uncalibrated"] = expected_calibration_error(transactions.is_fraud[late], raw[late])
    fewer = np.where(transactions.is_fraud, labelled_at, UNLABELLED)
    poorer = build(transactions, data.large_amount, fewer)
    only_frauds = offline_scores(network, poorer)[held]
    metrics["ap_if_only_frauds_are_labelled"] = average_precision(truth, only_frauds)
    metrics["auc_if_only_frauds_are_labelled"] = roc_auc(truth, only_frauds)
    return network, Manifest(
        name=config.name,
        version=config.version,
        features={group: list(names) for group, names in FEATURES.items()},
        config=config_fields(network.config),
        threshold=threshold,
        training={
            **account(transactions, learned, config.data),
            "seconds": round(time.monotonic() - began, 1),
            "curve": [list(point) for point in curve],
            **_settings(config),
        },
        metrics={name: round(value, 6) for name, value in metrics.items()},
        reference=_reference(data, held, scores),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def inputs(
    transactions: Transactions,
    learned: npt.NDArray[np.bool_],
    labelled_at: npt.NDArray[np.int64] | None = None,
) -> Dataset:
    """The inputs of a history of which some transactions are learned from.

    Memories and profiles are warm from its beginning, and every verdict enters the profiles when it
    became known.

    Args:
        transactions: N of them, in order of time.
        learned: (N,) bool, those whose verdict may be learned from.
        labelled_at: as `train` takes it; None for a week after the transaction.

    Raises:
        DataError: there is no fraud to learn from.
    """
    if not (transactions.is_fraud & learned).any():
        raise DataError(
            "nothing to learn from: after warm-up, label delay and held-out days no fraud is left; "
            "give a longer history"
        )
    amount = min(large_amount(transactions.take(learned)), FraudNetworkConfig().large_amount)
    return build(transactions, amount, labelled_at)


def train_network(
    data: Dataset,
    learned: npt.NDArray[np.bool_],
    config: TrainingConfig,
    *,
    checkpoint: Path | None = None,
    on_progress: OnProgress | None = None,
) -> tuple[FraudNetwork, list[tuple[int, float]]]:
    """Train on the verdicts of some transactions of a history.

    Args:
        data: `inputs` of N transactions.
        learned: (N,) bool, those whose verdict may be learned from.
        config: how to train.
        checkpoint: see `models.fraud.fitting.fit`.
        on_progress: likewise.

    Returns:
        The network and the learning curve.

    Raises:
        DataError: the checkpoint belongs to another training.
    """
    network, curve = fit(
        data,
        learned,
        replace(config.network, large_amount=data.large_amount),
        config.fit,
        checkpoint=checkpoint,
        on_progress=on_progress,
    )
    _learn_what_surprises(network, data, learned)
    return network, curve


def account(
    transactions: Transactions, learned: npt.NDArray[np.bool_], data: Mapping[str, Any]
) -> dict[str, Any]:
    """What a manifest says of the history of a training, and of what was learned from it.

    Args:
        transactions: N of them, at least one, in order of time.
        learned: (N,) bool, those whose verdict was learned from.
        data: where they came from.
    """
    clock = transactions.event_time
    return {
        "data": {**data, "fingerprint": fingerprint(transactions)},
        "transactions": len(transactions),
        "learned_from": int(learned.sum()),
        "frauds": int((learned & transactions.is_fraud).sum()),
        "days": round((int(clock[-1]) + 1 - int(clock[0])) / DAY_MS),
    }


def fingerprint(transactions: Transactions) -> str:
    """Of amounts, times and verdicts: 16 hex digits that tell one history from another."""
    digest = hashlib.sha256()
    for column in (transactions.amount, transactions.event_time, transactions.is_fraud):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]


@torch.no_grad()
def _calibrated(
    network: FraudNetwork,
    truth: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float32],
    judged: npt.NDArray[np.bool_],
) -> Platt:
    """Calibrate a network by some of its scores; it stays as it is without frauds among them."""
    known = truth[judged]
    platt = fit_platt(known, scores[judged]) if known.any() and not known.all() else Platt()
    network.calibration.copy_(torch.tensor([platt.slope, platt.offset]))
    return platt


@torch.no_grad()
def _learn_what_surprises(
    network: FraudNetwork, data: Dataset, learned: npt.NDArray[np.bool_]
) -> None:
    """Set the quantiles by which `FraudNetwork.rank` ranks a surprise."""
    surprise = torch.from_numpy(offline_scores(network, data, "surprise")[learned])
    at = torch.linspace(0.0, 1.0, len(network.surprise_quantiles))
    ordered = surprise.sort().values
    network.surprise_quantiles.copy_(ordered[(at * (len(ordered) - 1)).round().long()])


def _reference(
    data: Dataset, held: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32]
) -> dict[str, dict[str, list[float]]]:
    """Histograms of what a worker watches for drift, over the days held out."""
    card = {name: data.x[held, CARD_FEATURES.index(name)] for name in _WATCHED_OF_CARD}
    risk = {name: data.risk[held, PROFILE_FEATURES.index(name)] for name in _WATCHED_OF_TERMINAL}
    hour = data.transactions.event_time[held] % DAY_MS // 3_600_000
    return reference_of({"score": scores, "hour": hour.astype(np.float64), **card, **risk})


def _settings(config: TrainingConfig) -> dict[str, Any]:
    named = {"data", "network", "fit", "name", "version"}
    return {k: v for k, v in asdict(config).items() if k not in named} | asdict(config.fit)


def _metrics(
    truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32], threshold: float
) -> dict[str, float]:
    alerts = scores >= threshold
    hits = int((alerts & truth).sum())
    return {
        "auc": roc_auc(truth, scores),
        "ap": average_precision(truth, scores),
        "precision": hits / max(int(alerts.sum()), 1),
        "recall": hits / max(int(truth.sum()), 1),
        "alert_share": float(alerts.mean()),
        "fraud_share": float(truth.mean()),
        "held_out": float(len(truth)),
    }

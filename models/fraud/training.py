"""Training: truncated backpropagation over the cards' sequences, memory carried from part to part.

The last weeks are held out, and between them and the training part lies the delay of the labels: as
on the day of the split, nothing is learned from a verdict that nobody had yet.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from models.checkpoint import Manifest
from models.errors import DataError
from models.fraud.dataset import DAY_MS, Dataset, build, offline_scores
from models.fraud.evaluation import average_precision, roc_auc
from models.fraud.network import FEATURES, FraudNetwork, FraudNetworkConfig, config_fields
from models.fraud.transactions import Transactions

OnProgress = Callable[[int, int, float], None]
"""Called after a step with its number, the number of all steps and the loss."""


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How to train, and what the manifest will say about the data."""

    name: str = "fraud"
    version: str = "1"
    network: FraudNetworkConfig = field(default_factory=FraudNetworkConfig)
    seed: int = 0
    epochs: int = 4
    cards_at_once: int = 128
    steps_at_once: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    warmup_days: float = 30.0
    """Not learned from: profiles and memories are still filling."""
    holdout_days: float = 28.0
    label_delay_days: float = 7.0
    alert_share: float = 0.006
    """Share of transactions that the suggested threshold lets through as alerts."""
    data: Mapping[str, str | int | float] = field(default_factory=dict)
    """Where the transactions came from: a simulator's config, a file's name."""


def train(
    transactions: Transactions, config: TrainingConfig, on_progress: OnProgress | None = None
) -> tuple[FraudNetwork, Manifest]:
    """Train a network on a history and measure it on the part held out.

    Deterministic for a seed on one machine and one number of torch threads. The manifest still
    lacks the checksum, which `checkpoint.save` fills in.

    Raises:
        DataError: the history is too short, or has no fraud to learn from.
    """
    began = time.monotonic()
    # 1. Split by time.
    clock = transactions.event_time
    end = int(clock[-1]) + 1 if len(clock) else 0
    holdout = end - int(config.holdout_days * DAY_MS)
    cut = holdout - int(config.label_delay_days * DAY_MS)
    first = (int(clock[0]) if len(clock) else 0) + int(config.warmup_days * DAY_MS)
    learned = (clock >= first) & (clock < cut)
    if not (transactions.is_fraud & learned).any():
        raise DataError(
            "nothing to learn from: after warm-up, label delay and held-out days no fraud is left; "
            "give a longer history"
        )
    # 2. Learn from what was known then.
    data = build(transactions, config.label_delay_days)
    network = _fit(data, learned, cut, config, on_progress)
    # 3. Measure on what came later.
    held = clock >= holdout
    scores, truth = offline_scores(network, data)[held], transactions.is_fraud[held]
    threshold = float(np.quantile(scores, 1.0 - config.alert_share))
    return network, Manifest(
        name=config.name,
        version=config.version,
        features={group: list(names) for group, names in FEATURES.items()},
        config=config_fields(config.network),
        threshold=threshold,
        training={
            "data": dict(config.data),
            "transactions": len(data),
            "learned_from": int(learned.sum()),
            "frauds": int((learned & transactions.is_fraud).sum()),
            "days": round((end - int(clock[0])) / DAY_MS),
            "seconds": round(time.monotonic() - began, 1),
            **{
                k: v
                for k, v in asdict(config).items()
                if k not in {"data", "network", "name", "version"}
            },
        },
        metrics=_metrics(truth, scores, threshold),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _metrics(
    truth: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32], threshold: float
) -> dict[str, float]:
    alerts = scores >= threshold
    hits = int((alerts & truth).sum())
    figures = {
        "auc": roc_auc(truth, scores),
        "ap": average_precision(truth, scores),
        "precision": hits / max(int(alerts.sum()), 1),
        "recall": hits / max(int(truth.sum()), 1),
        "alert_share": float(alerts.mean()),
        "fraud_share": float(truth.mean()),
        "held_out": float(len(truth)),
    }
    return {name: round(value, 4) for name, value in figures.items()}


def _fit(
    data: Dataset,
    learned: npt.NDArray[np.bool_],
    cut: int,
    config: TrainingConfig,
    on_progress: OnProgress | None,
) -> FraudNetwork:
    """AdamW on a cosine, binary cross-entropy, and an average of the weights as the result."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    network = FraudNetwork(config.network).train()
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=config.weight_decay)
    seen = int(np.searchsorted(data.transactions.event_time, cut))
    rounds = [_sequences(data.cards[:seen], config, rng) for _ in range(config.epochs)]
    total = sum(-(-len(group) // config.steps_at_once) for groups in rounds for group in groups)
    batches = _batches(data, learned, rounds, config)
    hidden = torch.zeros(0)
    for step, (begins, x, risk, truth, counts) in enumerate(batches, 1):
        if begins:
            hidden = torch.zeros(x.shape[1], config.network.hidden)
        logits, hidden = network(x, risk, hidden)
        hidden = hidden.detach()
        loss = nn.functional.binary_cross_entropy_with_logits(logits[counts], truth[counts])
        if counts.any():
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _schedule(step / total)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            _follow(average, network, max(0.005, 1 / (step / 10 + 1)))
        if on_progress is not None:
            on_progress(step, total, float(loss.detach()))
    return average.eval()


def _schedule(done: float) -> float:
    """Share of the learning rate: up over the first 5 %, then down a cosine to nearly nothing."""
    return min(1.0, done / 0.05) * (0.5 + 0.5 * math.cos(math.pi * done) + 0.005)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, weight: float) -> None:
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, weight)


def _sequences(
    cards: npt.NDArray[np.int64], config: TrainingConfig, rng: np.random.Generator
) -> list[npt.NDArray[np.int64]]:
    """Groups of cards of like length, (T, N) each: places in time order, -1 behind a card's end."""
    order = np.argsort(cards, kind="stable")
    counts = np.bincount(cards)
    starts = np.cumsum(counts) - counts
    by_length = np.argsort(counts + rng.uniform(0, 8, len(counts)), kind="stable")
    by_length = by_length[counts[by_length] > 0]
    groups = []
    for begin in range(0, len(by_length), config.cards_at_once):
        chosen = by_length[begin : begin + config.cards_at_once]
        step = np.arange(counts[chosen].max())[:, None]  # (T, 1)
        place = np.minimum(starts[chosen] + step, len(order) - 1)  # (T, N)
        groups.append(np.where(step < counts[chosen], order[place], -1))
    rng.shuffle(groups)
    return groups


def _batches(
    data: Dataset,
    learned: npt.NDArray[np.bool_],
    rounds: list[list[npt.NDArray[np.int64]]],
    config: TrainingConfig,
) -> Iterator[tuple[bool, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Whether a group begins; x (T, N, F), risk (T, N, P), truth (T, N), what counts (T, N)."""
    truth = data.transactions.is_fraud.astype(np.float32)
    for group in (group for groups in rounds for group in groups):
        for begin in range(0, len(group), config.steps_at_once):
            places = group[begin : begin + config.steps_at_once]
            at = np.maximum(places, 0)
            counts = (places >= 0) & learned[at]
            parts = (data.x[at], data.risk[at], truth[at], counts)
            yield (begin == 0, *(torch.from_numpy(part) for part in parts))  # type: ignore[misc]

"""The network of one fold: trained as on the day before the test week, scoring the whole history.

The one place where the protocol meets the training, so that neither knows the other.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.torch

from models.checkpoint import Manifest, save
from models.errors import DataError
from models.fraud.dataset import offline_scores
from models.fraud.evaluation import Fold, Mode, training_rows
from models.fraud.fitting import run_fingerprint
from models.fraud.network import FEATURES, FraudNetwork, config_fields, load_fraud
from models.fraud.training import (
    FitConfig,
    OnProgress,
    TrainingConfig,
    account,
    inputs,
    train_network,
)
from models.fraud.transactions import Transactions


class FoldScores(NamedTuple):
    """What a fold's network says.

    Attributes:
        scores: (N,) float32 of the transactions up to the end of the test week, nan after it.
        novelty: (N,) float32, how unlike its card each is, likewise.
        network: that says so.
        manifest: of the network: what it learned from, and how well it does in the test week.
    """

    scores: npt.NDArray[np.float32]
    novelty: npt.NDArray[np.float32]
    network: FraudNetwork
    manifest: Manifest


class FoldNetworks:
    """Trains the networks of one fold; their inputs are computed once."""

    def __init__(
        self, transactions: Transactions, start: str, mode: Mode, folder: Path | None = None
    ) -> None:
        """Compute the inputs of the history up to the end of the test week.

        Memories and profiles are warm from its beginning in both modes, and every label enters them
        seven days late; nothing after the test week exists yet.

        Args:
            transactions: N in order of time.
            start: first training day of the fold.
            mode: which rows are learned from.
            folder: where to keep trained networks and the checkpoint of the one in training, to
                go on from what is there already; None keeps nothing.

        Raises:
            DataError: the fold has nothing to learn from or to judge.
        """
        self._fold, self._mode, self._folder = Fold.of(transactions, start), mode, folder
        self._end = int(self._fold.rows[-1]) + 1
        self._all = len(transactions)
        self._learned = training_rows(transactions, start, mode)[: self._end]
        self._data = inputs(transactions.take(slice(0, self._end)), self._learned)

    def scores(self, seed: int, on_progress: OnProgress | None = None) -> FoldScores:
        """Train a network on the labels of `training_rows` alone, and score as serving would.

        Raises:
            DataError: the folder holds a network or a checkpoint of another training.
            ArtifactError: the folder holds a damaged network.
        """
        # 1. The network: from the folder where it was finished before an interruption, or trained.
        config = TrainingConfig(fit=FitConfig(seed=seed))
        network_config = replace(config.network, large_amount=self._data.large_amount)
        run = run_fingerprint(config.fit, network_config, self._data, self._learned)
        stem = self._folder and self._folder / f"{self._fold.start}-{self._mode}-{seed}"
        kept = _kept(stem, run) if stem else None
        began = time.monotonic()
        curve: list[tuple[int, float]] = []
        if kept:
            network, manifest = kept
        else:
            network, curve = train_network(
                self._data,
                self._learned,
                config,
                checkpoint=stem and stem.with_name(f"{stem.name}.checkpoint"),
                on_progress=on_progress,
            )
        # 2. What it says.
        scores, novelty = np.full((2, self._all), np.nan, np.float32)
        scores[: self._end] = offline_scores(network, self._data)
        novelty[: self._end] = offline_scores(network, self._data, "novelty")
        # 3. Its manifest, with the network beside it in the folder.
        if not kept:
            training = {
                **account(self._data.transactions, self._learned, {}),
                "mode": self._mode,
                "run": run,
                "seconds": round(time.monotonic() - began, 1),
                "curve": [list(point) for point in curve],
                **asdict(config.fit),
            }
            metrics = self._fold.metrics(scores[self._fold.rows])
            manifest = self._manifest(network, training, metrics)
            if stem:
                save(stem, network, manifest)
        return FoldScores(scores, novelty, network, manifest)

    def _manifest(
        self, network: FraudNetwork, training: Mapping[str, Any], metrics: Mapping[str, float]
    ) -> Manifest:
        weights = safetensors.torch.save(
            {name: value.contiguous() for name, value in network.state_dict().items()}
        )
        return Manifest(
            name="fold",
            version=self._fold.start,
            features={group: list(names) for group, names in FEATURES.items()},
            config=config_fields(network.config),
            threshold=1.0,  # it is measured, not served: no alerts
            training=dict(training),
            metrics=dict(metrics),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            sha256=hashlib.sha256(weights).hexdigest(),
        )


def _kept(stem: Path, run: str) -> tuple[FraudNetwork, Manifest] | None:
    """The network that a run like this one finished; None where there is none.

    Raises:
        DataError: it is one of another training.
        ArtifactError: it is damaged.
    """
    path = stem.with_name(f"{stem.name}.json")
    if not path.exists():
        return None
    network, manifest = load_fraud(path)
    if manifest.training.get("run") != run:
        raise DataError(
            f"{path} is a network of another evaluation: delete {stem.parent} to start afresh"
        )
    return network, manifest

"""The network of one fold: trained as on the day before the test week, scoring the whole history.

The one place where the protocol meets the training, so that neither knows the other.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.torch

from models.fraud.dataset import offline_scores
from models.fraud.evaluation import Fold, Mode, training_rows
from models.fraud.network import FraudNetwork
from models.fraud.training import FitConfig, OnProgress, TrainingConfig, inputs, train_network
from models.fraud.transactions import Transactions


class FoldScores(NamedTuple):
    """What a fold's network says.

    Attributes:
        scores: (N,) float32 of the transactions up to the end of the test week, nan after it.
        novelty: (N,) float32, how unlike its card each is, likewise.
        network: that says so.
        sha256: checksum of the network's weights, as `checkpoint.save` would write them.
    """

    scores: npt.NDArray[np.float32]
    novelty: npt.NDArray[np.float32]
    network: FraudNetwork
    sha256: str


class FoldNetworks:
    """Trains the networks of one fold; their inputs are computed once."""

    def __init__(self, transactions: Transactions, start: str, mode: Mode) -> None:
        """Compute the inputs of the history up to the end of the test week.

        Memories and profiles are warm from its beginning in both modes, and every label enters them
        seven days late; nothing after the test week exists yet.

        Raises:
            DataError: the fold has nothing to learn from or to judge.
        """
        self._end = int(Fold.of(transactions, start).rows[-1]) + 1
        self._all = len(transactions)
        self._learned = training_rows(transactions, start, mode)[: self._end]
        self._data = inputs(transactions.take(slice(0, self._end)), self._learned)

    def scores(self, seed: int, on_progress: OnProgress | None = None) -> FoldScores:
        """Train a network on the labels of `training_rows` alone, and score as serving would."""
        config = TrainingConfig(fit=FitConfig(seed=seed))
        network, _ = train_network(self._data, self._learned, config, on_progress=on_progress)
        scores, novelty = np.full((2, self._all), np.nan, np.float32)
        scores[: self._end] = offline_scores(network, self._data)
        novelty[: self._end] = offline_scores(network, self._data, "novelty")
        weights = safetensors.torch.save(
            {name: value.contiguous() for name, value in network.state_dict().items()}
        )
        return FoldScores(scores, novelty, network, hashlib.sha256(weights).hexdigest())

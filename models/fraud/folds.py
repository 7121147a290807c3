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
from models.fraud.training import FitConfig, OnProgress, TrainingConfig, train_network
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


def fold_scores(
    transactions: Transactions,
    start: str,
    mode: Mode,
    seed: int,
    on_progress: OnProgress | None = None,
) -> FoldScores:
    """Train the network of a fold and let it score.

    It learns from the labels of `training_rows` alone; memories and profiles are warm from the
    beginning of the history in both modes, and every label enters them seven days late.

    Raises:
        DataError: the fold has nothing to learn from or to judge.
    """
    # 1. The history up to the end of the test week: nothing after it exists yet.
    end = int(Fold.of(transactions, start).rows[-1]) + 1
    past, learned = transactions.take(slice(0, end)), training_rows(transactions, start, mode)[:end]
    # 2. Learn.
    config = TrainingConfig(fit=FitConfig(seed=seed))
    network, data, _ = train_network(past, learned, config, on_progress=on_progress)
    # 3. Score as serving would have.
    scores, novelty = np.full((2, len(transactions)), np.nan, np.float32)
    scores[:end] = offline_scores(network, data)
    novelty[:end] = offline_scores(network, data, "novelty")
    weights = safetensors.torch.save(
        {name: value.contiguous() for name, value in network.state_dict().items()}
    )
    return FoldScores(scores, novelty, network, hashlib.sha256(weights).hexdigest())

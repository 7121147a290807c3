"""The network of one fold: trained as on the day before the test week, scoring the whole history.

The one place where the protocol meets the training, so that neither knows the other.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import safetensors.torch

from models.fraud.dataset import DAY_MS, build, offline_scores
from models.fraud.evaluation import Fold, Mode, first_day_ms, training_rows
from models.fraud.training import OnProgress, TrainingConfig, train
from models.fraud.transactions import Transactions

_DELAY_DAYS = 7.0


class FoldScores(NamedTuple):
    """What a fold's network says.

    Attributes:
        scores: (N,) float32 of the transactions up to the end of the test week, nan after it.
        sha256: checksum of the network's weights, as `checkpoint.save` would write them.
    """

    scores: npt.NDArray[np.float32]
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
    learned = training_rows(transactions, start, mode)
    end = int(Fold.of(transactions, start).rows[-1]) + 1
    past = transactions.take(slice(0, end))
    # 2. The training's own split, put where the fold has it: it holds out what follows the week
    #    after the training week. Half a millisecond, so that no rounding moves an edge.
    clock, first = past.event_time, int(np.argmax(learned))
    held = int(clock[-1]) + 1 - (first_day_ms(start) + 2 * 7 * DAY_MS)
    config = TrainingConfig(
        seed=seed,
        warmup_days=(int(clock[first]) - int(clock[0]) + 0.5) / DAY_MS,
        holdout_days=(held + 0.5) / DAY_MS,
        label_delay_days=_DELAY_DAYS,
    )
    network, _ = train(past, config, on_progress)
    # 3. Score as serving would have.
    scores = np.full(len(transactions), np.nan, np.float32)
    scores[:end] = offline_scores(network, build(past, _DELAY_DAYS))
    weights = safetensors.torch.save(
        {name: value.contiguous() for name, value in network.state_dict().items()}
    )
    return FoldScores(scores, hashlib.sha256(weights).hexdigest())

"""Judge scores that exist: those that a worker published, or those of an offline pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from models.fraud.evaluation import Fold, mean_and_std
from models.fraud.transactions import Transactions
from streams.cli.fraud_tables import show_folds
from streams.cli.progress import progress_bar
from streams.errors import TocsinError
from streams.scored import read_scores
from streams.settings import Settings

Scores = npt.NDArray[np.float32]


def judge_scores(
    settings: Settings,
    transactions: Transactions,
    folds: Sequence[Fold],
    scores_topic: str | None,
    *,
    offline: bool,
) -> dict[str, Any]:
    """Figures of streamed scores, of an offline pass or of both, and their largest difference.

    Raises:
        TocsinError: a transaction that counts has no score, or a record is no score.
    """
    streamed = own = None
    result: dict[str, Any] = {}
    if scores_topic is not None:
        with progress_bar("scores", len(transactions)) as advance:
            streamed = asyncio.run(
                read_scores(
                    settings.kafka, scores_topic, transactions, lambda done: advance(done, "")
                )
            )
        result = {"source": "streamed", **_judge(folds, streamed)}
        show_folds(f"streamed, topic {scores_topic}", result)
    if offline:
        own = _offline(settings, transactions)
        judged = _judge(folds, own)
        show_folds("offline", judged)
        result = {**result, "offline": judged} if result else {"source": "offline", **judged}
    result["max_abs_diff"] = None
    if streamed is not None and own is not None:
        scored = np.isfinite(streamed)
        result["compared"] = int(scored.sum())
        result["max_abs_diff"] = float(np.abs(streamed - own)[scored].max(initial=0.0))
        print(f"largest difference {result['max_abs_diff']:.2e} over {result['compared']} scores")
    return result


def _judge(folds: Sequence[Fold], scores: Scores) -> dict[str, Any]:
    """``folds``, ``mean`` and ``std`` of the scores of a history.

    Raises:
        TocsinError: a transaction that counts has no score.
    """
    rows: list[dict[str, Any]] = []
    for fold in folds:
        judged = scores[fold.rows]
        missing = int(np.isnan(judged).sum())
        if missing:
            raise TocsinError(
                f"{missing} transactions of the fold of {fold.start} have no score: replay the "
                "whole file with fraud.publish_scores on, and wait for the worker to finish"
            )
        rows.append({"start": fold.start, **fold.metrics(judged)})
    mean, std = mean_and_std(rows)
    return {"folds": rows, "mean": mean, "std": std}


def _offline(settings: Settings, transactions: Transactions) -> Scores:
    """Score the whole history with the network that the settings name."""
    from models.fraud.dataset import build, offline_scores  # noqa: PLC0415  imports torch
    from models.fraud.network import load_fraud  # noqa: PLC0415

    network, _ = load_fraud(settings.fraud.model)
    return offline_scores(network, build(transactions, network.config.large_amount))

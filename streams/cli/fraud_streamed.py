"""Each fold's network through the agents: the figures of the stream beside those offline."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.checkpoint import save
from models.fraud.evaluation import Fold, mean_and_std
from models.fraud.folds import FoldScores
from models.fraud.transactions import Transactions
from streams.bench.lockstep import streamed_scores
from streams.bench.servers import servers
from streams.cli.progress import progress_bar
from streams.settings import Settings

_LABEL_DELAY_DAYS = 7.0


class StreamedFolds:
    """Keeps the first network of each fold, and sends them all through one replay."""

    def __init__(self, bootstrap: str | None, redis_url: str | None) -> None:
        """Look for the broker and Redis: hours before they are needed, not after.

        Args:
            bootstrap: host:port of a broker to use, None for one of our own.
            redis_url: URL of a Redis to use, None for one of our own.

        Raises:
            ServerMissing: there is none, and none can be started.
        """
        with servers(bootstrap, redis_url):
            self._servers = bootstrap, redis_url
        self._folder = tempfile.TemporaryDirectory(prefix="tocsin-folds-")
        self._models: dict[str, Path] = {}
        self._offline: dict[str, npt.NDArray[np.float32]] = {}

    def keep(self, start: str, said: FoldScores) -> None:
        """Write a fold's network where a worker can load it."""
        stem = Path(self._folder.name) / start
        save(stem, said.network, said.manifest)
        self._models[start] = stem.with_name(f"{start}.json")
        self._offline[start] = said.scores

    def judge(self, settings: Settings, transactions: Transactions) -> dict[str, Any]:
        """Replay the history up to the last test week and judge what the workers scored.

        Returns:
            ``folds`` and ``mean`` as everywhere, of the streamed scores; of each fold also
            ``offline``, the same figures of the offline pass, and ``max_abs_diff`` of the scores.
        """
        folds = {start: Fold.of(transactions, start) for start in self._models}
        end = max(int(fold.rows[-1]) for fold in folds.values()) + 1
        history = transactions.take(slice(0, end))
        with (
            servers(*self._servers) as there,
            progress_bar("streaming", end) as advance,
            self._folder,
        ):
            scores = streamed_scores(
                settings,
                there,
                history,
                self._models,
                label_delay_days=_LABEL_DELAY_DAYS,
                on_progress=advance,
            )
        rows = [self._row(fold, scores[start]) for start, fold in folds.items()]
        mean, _ = mean_and_std(rows)
        offline, _ = mean_and_std([row["offline"] for row in rows])
        return {"folds": rows, "mean": mean, "offline": offline}

    def _row(self, fold: Fold, scores: npt.NDArray[np.float32]) -> Mapping[str, Any]:
        offline = self._offline[fold.start]
        seen = np.isfinite(offline[: len(scores)])
        return {
            "start": fold.start,
            **fold.metrics(scores[fold.rows]),
            "offline": fold.metrics(offline[fold.rows]),
            "compared": int(seen.sum()),
            "max_abs_diff": float(np.abs(scores - offline[: len(scores)])[seen].max()),
        }

"""A fair fight: every model learns from the same rows and is judged on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.fraud.baselines import Baseline, Inputs, Matrix, Params, fit_predict
from models.fraud.evaluation import Bools, Fold, Mode, training_rows
from models.fraud.transactions import Transactions

OnRun = Callable[[str], None]
"""Called with what begins: a model, a fold."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The folds of one mode over one history.

    Attributes:
        mode: which rows are learned from.
        truth: (N,) verdicts of the history.
        folds: what is judged.
        learned: (N,) rows to learn from, one array a fold.
        matrices: (N, F) inputs of the baselines by name.
        genuine_share: of the genuine rows to learn from, those that are left in `learned`; each
            weighs as much as it stands for.
    """

    mode: Mode
    truth: Bools
    folds: Sequence[Fold]
    learned: Sequence[Bools]
    matrices: Mapping[Inputs, Matrix]
    genuine_share: float = 1.0

    @classmethod
    def over(
        cls,
        transactions: Transactions,
        starts: Sequence[str],
        mode: Mode,
        matrices: Mapping[Inputs, Matrix],
        genuine_share: float = 1.0,
    ) -> Contest:
        """Set up the folds of `starts`, learning from all frauds and a share of the genuine rows.

        Raises:
            DataError: a fold has nothing to learn from or to judge.
        """
        truth = transactions.is_fraud
        left = truth | (np.random.default_rng(0).random(len(truth)) < genuine_share)
        return cls(
            mode,
            truth,
            [Fold.of(transactions, start) for start in starts],
            [training_rows(transactions, start, mode) & left for start in starts],
            matrices,
            genuine_share,
        )

    def judge(
        self, baseline: Baseline, params: Params, on_run: OnRun | None = None
    ) -> tuple[list[dict[str, float]], float]:
        """Measures of a baseline in each fold, and the seconds that it took in all."""
        began, figures = time.monotonic(), []
        for fold, learned in zip(self.folds, self.learned, strict=True):
            if on_run is not None:
                on_run(f"{baseline.name} {fold.start}")
            scores = fit_predict(
                baseline,
                params,
                x=self.matrices[baseline.inputs],
                truth=self.truth,
                learned=learned,
                judged=fold.rows,
                genuine_weight=1.0 / self.genuine_share,
            )
            figures.append(fold.metrics(scores))
        return figures, round(time.monotonic() - began, 1)

    @property
    def learned_rows(self) -> list[int]:
        """How many rows each fold learns from."""
        return [int(np.count_nonzero(rows)) for rows in self.learned]

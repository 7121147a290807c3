"""The network, its baselines and the ceiling side by side: one run, the same rows, one report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.fraud.baselines import BASELINES, Baseline, Inputs, Matrix, Params
from models.fraud.ceiling import ceilings
from models.fraud.contest import Contest
from models.fraud.evaluation import TEST_STARTS, Mode, mean_and_std, summary
from models.fraud.findings import findings
from models.fraud.folds import FoldNetworks, FoldScores
from models.fraud.transactions import Transactions
from models.fraud.unsupervised import DETECTORS, anomaly_scores

OnPart = Callable[[int, str], None]
"""Called with how many parts are done and a note on the one under way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare.

    Attributes:
        mode: which rows are learned from.
        starts: first training day of each fold.
        seeds: networks a fold, seeded 0, 1, ...; 0 leaves the network out.
        baselines: with the parameters of each by name.
        oracle: whether to compute the ceiling.
    """

    mode: Mode
    starts: Sequence[str] = TEST_STARTS
    seeds: int = 3
    baselines: Sequence[Baseline] = BASELINES
    params: Mapping[str, Params] | None = None
    oracle: bool = False
    on_first: Callable[[str, FoldScores], None] | None = None
    """Called with a fold's start and what its first network says."""
    folder: Path | None = None
    """Where trained networks are kept, to go on from; see `models.fraud.folds.FoldNetworks`."""

    @property
    def parts(self) -> int:
        """How many trainings there are."""
        return len(self.starts) * (self.seeds + len(self.baselines))


def compare(
    transactions: Transactions,
    matrices: Mapping[Inputs, Matrix],
    plan: Plan,
    on_part: OnPart | None = None,
) -> dict[str, Any]:
    """Run a plan.

    Args:
        transactions: N in order of time.
        matrices: the baselines' inputs, (N, F) each.
        plan: what to compare; its baselines' inputs are in `matrices`.
        on_part: told of progress.

    Returns:
        The report: ``folds``, ``mean`` and ``std`` of the network (a fold's figures are means over
        its seeds, `std` is over the folds), ``baselines`` by name, ``unsupervised`` likewise and
        ``ceiling``, each with the same three measures, ``seconds`` for each; ``findings`` on the
        first seed's networks.

    Raises:
        DataError: a fold has nothing to learn from or to judge, or the folder holds networks of
            another evaluation.
        ModelError: a baseline's library is missing, or the folder holds a damaged network.
    """
    began = time.monotonic()
    contest = Contest.over(transactions, plan.starts, plan.mode, matrices)
    counter = _Counter(on_part)
    folds, firsts = _network(transactions, contest, plan, counter)
    mean, std = mean_and_std(folds) if plan.seeds else ({}, {})
    baselines = {
        baseline.name: _baseline(contest, baseline, (plan.params or {})[baseline.name], counter)
        for baseline in plan.baselines
    }
    return {
        "mode": plan.mode,
        "train_starts": list(plan.starts),
        "seeds": plan.seeds,
        "folds": folds,
        "mean": mean,
        "std": std,
        "baselines": baselines,
        "unsupervised": _unsupervised(contest, firsts) if firsts else None,
        "findings": (
            findings(transactions, contest.folds, [first.scores for first in firsts])
            if firsts
            else None
        ),
        "ceiling": ceilings(transactions, contest.folds) if plan.oracle else None,
        "seconds": round(time.monotonic() - began, 1),
    }


class _Counter:
    """Counts the parts that are done and passes notes on."""

    def __init__(self, on_part: OnPart | None) -> None:
        self._on_part, self._done = on_part, -1

    def begin(self, note: str) -> None:
        self._done += 1
        self.note(note)

    def note(self, note: str) -> None:
        if self._on_part is not None:
            self._on_part(max(self._done, 0), note)


def _network(
    transactions: Transactions, contest: Contest, plan: Plan, counter: _Counter
) -> tuple[list[dict[str, Any]], list[FoldScores]]:
    """Each fold with its networks, one a seed; and what the first network of each fold says."""
    rows, firsts = [], []
    for fold, learned in zip(contest.folds, contest.learned_rows, strict=True):
        runs = []
        if plan.seeds:
            networks = FoldNetworks(transactions, fold.start, contest.mode, plan.folder)
        for seed in range(plan.seeds):
            title, began = f"network {fold.start} seed {seed}", time.monotonic()
            counter.begin(title)
            said = networks.scores(
                seed,
                lambda step, total, loss, title=title: counter.note(  # type: ignore[misc]
                    f"{title}: step {step} of {total}, loss {loss:.4f}"
                ),
            )
            if seed == 0:
                firsts.append(said)
                if plan.on_first is not None:
                    plan.on_first(fold.start, said)
            figures = fold.metrics(said.scores[fold.rows])
            seconds = round(time.monotonic() - began, 1)
            sha256 = said.manifest.sha256
            runs.append({"seed": seed, **figures, "sha256": sha256, "seconds": seconds})
        row: dict[str, Any] = {
            "start": fold.start,
            "learned": learned,
            "judged": len(fold.rows),
            "frauds": int(fold.truth.sum()),
        }
        if runs:
            mean, std = mean_and_std(runs)
            row.update(mean, std=std, seeds=runs)
        rows.append(row)
    return rows, firsts


def _unsupervised(contest: Contest, firsts: Sequence[FoldScores]) -> dict[str, Any]:
    """Novelty as a detector of its own, beside others that need no labels."""
    pairs = list(zip(contest.folds, firsts, strict=True))
    table = {
        "novelty": summary(
            contest.folds, [fold.metrics(first.novelty[fold.rows]) for fold, first in pairs]
        )
    }
    if "book" in contest.matrices:
        for detector in DETECTORS:
            figures = [
                fold.metrics(anomaly_scores(detector, contest.matrices["book"], learned, fold.rows))
                for fold, learned in zip(contest.folds, contest.learned, strict=True)
            ]
            table[detector] = summary(contest.folds, figures)
    return table


def _baseline(
    contest: Contest, baseline: Baseline, params: Params, counter: _Counter
) -> dict[str, Any]:
    figures, seconds = contest.judge(baseline, params, counter.begin)
    return {
        **summary(contest.folds, figures),
        "params": params,
        "inputs": baseline.inputs,
        "seconds": seconds,
    }

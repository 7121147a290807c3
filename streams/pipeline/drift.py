"""Drift of a worker's inputs and scores over the last days of event time, from a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactError
from models.fraud.drift import Reference, bins_of, psi
from streams.metrics import Metrics

SAMPLE = 1024
"""Transactions of a batch that are looked at: a batch at full speed has sixteen times as many."""

LEAST = 2000
"""Below this many, chance alone makes a PSI of ten bins exceed 0.005; it is not shown."""

HOUR_MS = 3_600_000

SCORE, HOUR = "score", "hour"
"""Inputs that are no feature: the score, and the UTC hour of the day."""


class DriftWatch:
    """Counts a sample of each batch into the reference's bins, hour by hour.

    In memory only: a worker that starts shows nothing until it has seen enough. `count` is called
    on the inference thread, the figures are read by any.

    Args:
        reference: of the manifest; without one nothing is counted.
        features: names of the columns of x and risk, by group (``card``, ``profile``).
        days: of event time that the figures cover.

    Raises:
        ArtifactError: the reference names an input that this version does not compute.
    """

    def __init__(
        self, reference: Reference, features: Mapping[str, Sequence[str]], days: int
    ) -> None:
        card, profile = list(features.get("card", ())), list(features.get("profile", ()))
        for name in reference:
            if name not in {SCORE, HOUR, *card, *profile}:
                raise ArtifactError(
                    f"the model's drift reference names {name!r}, which this version does not "
                    "compute: train it again"
                )
        self._inputs = list(reference)
        self._edges = [np.array(entry["edges"]) for entry in reference.values()]
        self._shares = [np.array(entry["shares"]) for entry in reference.values()]
        self._starts = np.cumsum([0, *(len(shares) for shares in self._shares)])
        self._card = {name: card.index(name) for name in reference if name in card}
        self._profile = {name: profile.index(name) for name in reference if name in profile}
        self._windows = np.full(days * 24, -1, np.int64)
        self._counts = np.zeros((days * 24, int(self._starts[-1])), np.int64)

    def count(
        self,
        event_time: NDArray[np.int64],
        x: NDArray[np.float32],
        risk: NDArray[np.float32],
        scores: NDArray[np.float32],
    ) -> None:
        """Count about `SAMPLE` of a batch, at equal distances.

        Args:
            event_time: (N,) ms.
            x: (N, F) card features.
            risk: (N, P) profile features.
            scores: (N,) in [0, 1].
        """
        if not self._inputs or not len(scores):
            return
        # 1. The sample, and the columns of it.
        step = slice(None, None, -(-len(scores) // SAMPLE))
        hours, hour_of = np.unique(event_time[step] // HOUR_MS, return_inverse=True)
        columns: dict[str, NDArray[Any]] = {
            SCORE: scores[step],
            HOUR: (hours % 24).astype(np.float64)[hour_of],
            **{name: x[step, place] for name, place in self._card.items()},
            **{name: risk[step, place] for name, place in self._profile.items()},
        }

        # 2. One count over hour, input and bin.
        width, starts = self._counts.shape[1], self._starts[:-1].tolist()
        cells = [
            hour_of * width + start + bins_of(columns[name], edges)
            for name, start, edges in zip(self._inputs, starts, self._edges, strict=True)
        ]
        counted = np.bincount(np.concatenate(cells), minlength=len(hours) * width)

        # 3. Into the hours' slots; what is older than the window is passed by.
        for hour, counts in zip(hours.tolist(), counted.reshape(-1, width), strict=True):
            slot = hour % len(self._windows)
            if self._windows[slot] > hour:
                continue
            if self._windows[slot] < hour:
                self._windows[slot], self._counts[slot] = hour, 0
            self._counts[slot] += counts

    def psi(self, name: str) -> float:
        """PSI of one input over the window; nan while too little has been seen."""
        place = self._inputs.index(name)
        recent = self._windows > self._windows.max() - len(self._windows)
        columns = slice(int(self._starts[place]), int(self._starts[place + 1]))
        counts = self._counts[recent, columns].sum(0)
        return psi(self._shares[place], counts) if counts.sum() >= LEAST else float("nan")

    def observe(self, metrics: Metrics) -> None:
        """Publish the PSI of each input."""
        for name in self._inputs:
            metrics.drift(name).set_function(partial(self.psi, name))

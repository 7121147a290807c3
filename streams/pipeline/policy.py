"""Which scores become alerts: those above a fixed threshold, or so many a day.

Under a budget an hour of event time has one threshold. Whoever meets the hour first works it out
and all workers agree on it before anything goes out, so a transaction is decided by its score and
its event time alone: the same whoever decides, and the same again in a replay.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streams.metrics import Metrics
from streams.pipeline.budget import Budget, History, decide, history_of
from streams.state.sketch import BINS, KEYS, RING, WINDOW_MS, ScoreSketch, bins_of
from streams.state.store import PartitionSnapshot, StateStore

log = logging.getLogger(__name__)

_THRESHOLD = struct.Struct("<d")

REMEMBERED = 4 * RING
"""Thresholds kept in memory; the store has them all."""


class AlertPolicy(Protocol):
    """Decides from scores. `drop` is called on the prepare thread, the rest on the inference one.

    All may block on the store.
    """

    def thresholds(
        self,
        scores: NDArray[np.float32],
        event_time: NDArray[np.int64],
        partitions: NDArray[np.int32],
    ) -> NDArray[np.float64]:
        """Return the threshold of each of N transactions, (N,) or one for all, (1,).

        Called once for each batch; the transactions count as having been seen.
        """

    def stored(self, snapshots: Iterable[PartitionSnapshot]) -> list[PartitionSnapshot]:
        """Add what this policy remembers of each partition to what is about to be stored."""

    def drop(self, partitions: set[int] | None) -> None:
        """Forget what is not stored of `partitions`; None forgets all."""

    def sized(self, partitions: int) -> None:
        """Note how many partitions the topic has; called before the first batch."""

    def observe(self, metrics: Metrics) -> None:
        """Publish the threshold."""


class FixedThreshold(AlertPolicy):
    """One threshold for all; remembers nothing."""

    def __init__(self, threshold: float) -> None:
        self._threshold = np.array([threshold])

    def thresholds(
        self,
        scores: NDArray[np.float32],
        event_time: NDArray[np.int64],
        partitions: NDArray[np.int32],
    ) -> NDArray[np.float64]:
        """Return the one threshold."""
        return self._threshold

    def stored(self, snapshots: Iterable[PartitionSnapshot]) -> list[PartitionSnapshot]:
        """Add nothing."""
        return list(snapshots)

    def drop(self, partitions: set[int] | None) -> None:
        """Nothing to forget."""

    def sized(self, partitions: int) -> None:
        """Of no concern."""

    def observe(self, metrics: Metrics) -> None:
        """Publish the threshold."""
        metrics.threshold.set(self._threshold[0])


class AlertBudget(AlertPolicy):
    """So many alerts a day of event time, over all workers; see `streams.pipeline.budget`.

    Args:
        store: the namespace of the cards; sketches are rows of its partitions.
        budget: what is promised.
        cold: threshold until a whole day is known.
    """

    def __init__(self, store: StateStore, *, budget: Budget, cold: float) -> None:
        self.latest = cold
        """Threshold of the newest hour; for metrics."""

        self.balance = 0.0
        self.is_cold = True
        self._store, self._budget, self._cold = store, budget, cold
        self._partitions = 0
        self._sketches: dict[int, ScoreSketch] = {}
        self._agreed: dict[int, float] = {}
        self._dropped: list[set[int] | None] = []

    def thresholds(
        self,
        scores: NDArray[np.float32],
        event_time: NDArray[np.int64],
        partitions: NDArray[np.int32],
    ) -> NDArray[np.float64]:
        """Return the threshold of each transaction, (N,), and count scores and alerts.

        1. Count the scores. 2. Hour by hour, find its threshold; it looks at closed hours alone,
        among them those that this very batch has closed. 3. Count the hour's alerts, which the
        balance of the next one needs.
        """
        self._forget()
        found = np.full(len(scores), self.latest)
        if not len(scores):
            return found
        hours, hour_of = np.unique(event_time // WINDOW_MS, return_inverse=True)
        homes, home_of = np.unique(partitions, return_inverse=True)
        # Step 1.
        shape = (len(homes), len(hours), BINS)
        cell = (home_of * len(hours) + hour_of) * BINS + bins_of(scores)
        counts = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
        sketches = [self._sketch(home) for home in homes.tolist()]
        for sketch, by_hour in zip(sketches, counts, strict=True):
            for hour, of_hour in zip(hours.tolist(), by_hour, strict=True):
                if of_hour.any():
                    sketch.add(hour, of_hour)
        view = _View(self)
        for place, hour in enumerate(hours.tolist()):
            # Step 2.
            mine = hour_of == place
            threshold = self._threshold(hour, view)
            found[mine] = threshold
            # Step 3.
            hits = np.bincount(home_of[mine & (scores >= threshold)], minlength=len(homes))
            for sketch, alerts in zip(sketches, hits.tolist(), strict=True):
                if alerts:
                    sketch.add(hour, np.zeros(BINS, np.int64), alerts)
        return found

    def stored(self, snapshots: Iterable[PartitionSnapshot]) -> list[PartitionSnapshot]:
        """Add the hours that changed."""
        self._forget()
        return [
            replace(snapshot, blobs=[*snapshot.blobs, *self._sketches[snapshot.partition].dirty()])
            if snapshot.partition in self._sketches
            else snapshot
            for snapshot in snapshots
        ]

    def drop(self, partitions: set[int] | None) -> None:
        """Forget the sketches of `partitions` before the next batch: this is another thread."""
        self._dropped.append(partitions)

    def sized(self, partitions: int) -> None:
        """Note whose sketches to ask for."""
        self._partitions = partitions

    def observe(self, metrics: Metrics) -> None:
        """Publish the newest hour's threshold, the budget and what is left over of it."""
        metrics.threshold.set_function(lambda: self.latest)
        metrics.budget.set(self._budget.alerts)
        metrics.balance.set_function(lambda: self.balance)
        metrics.cold.set_function(lambda: self.is_cold)

    def _forget(self) -> None:
        while self._dropped:
            partitions = self._dropped.pop(0)
            gone = set(self._sketches) if partitions is None else partitions
            for partition in gone:
                self._sketches.pop(partition, None)

    def _sketch(self, partition: int) -> ScoreSketch:
        if partition not in self._sketches:
            self._sketches[partition] = self.read(partition)
        return self._sketches[partition]

    def read(self, partition: int) -> ScoreSketch:
        """Read the sketch of any partition, as it was last stored."""
        return ScoreSketch.parse(self._store.load(np.full(RING, partition, np.int32), KEYS))

    def _threshold(self, hour: int, view: _View) -> float:
        known = self._agreed.get(hour)
        if known is not None:
            return known
        # An hour far ahead is a clock that runs wrong, one far behind is beyond the sketches: such
        # an hour gets the newest threshold and none of its own, or it would be worked out from
        # hours that are still to come.
        history = view.history
        if not history.newest - RING < hour <= history.newest + 1:
            return self.latest
        return self._agree(hour, view)

    def _agree(self, hour: int, view: _View) -> float:
        """Work the threshold of `hour` out, and take what all workers agree on."""
        verdict = decide(view.rows, hour, self._budget, view.history)
        ours = self._cold if verdict is None else verdict.threshold
        answer = self._store.agree(b"threshold:%d" % hour, _THRESHOLD.pack(ours))
        (threshold,) = _THRESHOLD.unpack(answer)
        if len(self._agreed) >= REMEMBERED:
            del self._agreed[min(self._agreed)]
        self._agreed[hour] = threshold
        if hour == max(self._agreed):
            self._note(threshold, None if verdict is None else verdict.balance)
        return float(threshold)

    def _note(self, threshold: float, balance: float | None) -> None:
        if balance is None and (self.is_cold and len(self._agreed) == 1):
            log.warning(
                "alert budget: no whole day of scores yet, the threshold stays at %.4f", threshold
            )
        elif balance is not None and self.is_cold:
            log.info("alert budget: a day of scores is known, the threshold follows it from now on")
        self.latest, self.balance, self.is_cold = threshold, balance or 0.0, balance is None
        log.debug("alert budget: threshold %.4f, balance %+.1f", threshold, self.balance)

    @property
    def sketches(self) -> dict[int, ScoreSketch]:
        """Those of our own partitions."""
        return self._sketches

    def others(self) -> list[ScoreSketch]:
        """Those of the other workers' partitions, as they were last stored."""
        return [self.read(p) for p in range(self._partitions) if p not in self._sketches]


class _View:
    """All sketches as one batch sees them: its own as they are, the others read at most once."""

    def __init__(self, policy: AlertBudget) -> None:
        self._policy = policy
        self._rows: list[NDArray[np.void]] | None = None
        self._history: History | None = None

    @property
    def rows(self) -> list[NDArray[np.void]]:
        if self._rows is None:
            everyone = [*self._policy.sketches.values(), *self._policy.others()]
            self._rows = [sketch.rows for sketch in everyone]
        return self._rows

    @property
    def history(self) -> History:
        if self._history is None:
            history = history_of(self.rows)
            if history is None:  # the batch that asks has been counted
                raise AssertionError("no event in any sketch")
            self._history = history
        return self._history

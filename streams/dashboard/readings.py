"""One worker's figures over time: what its answers come to, worked out once of each."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streams.dashboard.workers import SPAN, Watched
from streams.scrape import Key, Samples, increase, quantile_of

KEPT: Final = 450
"""Readings of each worker: a quarter of an hour."""

Point = tuple[float, float]
"""(epoch seconds, value)."""

_EVENTS: Final = "tocsin_events_total"
_DEAD: Final = "tocsin_dead_letters_total"
_LAG: Final = "tocsin_lag_records"
_DRIFT: Final = "tocsin_drift_psi"
_SHARES: Final = {
    "tocsin_live_precision": "fraud, precision",
    "tocsin_live_recall": "fraud, recall",
    "tocsin_live_object_precision": "precision",
}
"""Of judged alerts; those by rule carry its name in front."""
_LATENCY: Final = "tocsin_alert_latency_seconds"
_BATCH: Final = "tocsin_batch_size"
_DISTRIBUTIONS: Final = {f"{_LATENCY}_bucket", f"{_BATCH}_sum", f"{_BATCH}_count"}


@dataclass(frozen=True, slots=True)
class Reading:
    """What of one answer is charted; `at` is in epoch seconds."""

    at: float
    sums: Mapping[str, float]
    drifts: Mapping[str, float]
    shares: Mapping[str, float]
    distributions: Samples


def reading_of(at: float, samples: Samples) -> Reading:
    """Take what is charted out of an answer, in one pass: it has hundreds of samples."""
    sums = dict.fromkeys((_EVENTS, _DEAD, _LAG), 0.0)
    drifts, shares, distributions = dict[str, float](), dict[str, float](), dict[Key, float]()
    for key, value in samples.values.items():
        name, labels = key
        if name in sums:
            sums[name] += value
        elif name in _DISTRIBUTIONS:
            distributions[key] = value
        elif name == _DRIFT:
            drifts[dict(labels)["input"]] = value
        elif name in _SHARES and math.isfinite(value):
            shares[", ".join(filter(None, (dict(labels).get("rule"), _SHARES[name])))] = value
    return Reading(at, sums, drifts, shares, Samples(distributions))


@dataclass(slots=True)
class Readings:
    """A worker's lines over a quarter of an hour; `update` takes in what it said since."""

    worker: Watched
    _readings: deque[Reading] = field(default_factory=lambda: deque(maxlen=KEPT))
    _lines: dict[str, deque[Point]] = field(default_factory=dict)
    _last: object = None

    def update(self) -> None:
        """Take in the answers that came since."""
        answers = list(self.worker.answers)
        new = []
        for answer in reversed(answers):
            if answer is self._last:
                break
            new.append(answer)
        for at, samples in reversed(new):
            self._add(reading_of(at, samples))
        if answers:
            self._last = answers[-1]

    def line(self, figure: str) -> list[Point]:
        """Give the points of a figure by its name."""
        return list(self._lines.get(figure, ()))

    def drifts(self, most: int) -> dict[str, list[Point]]:
        """Follow the `most` inputs that have drifted furthest by now."""
        if not self._readings:
            return {}
        latest = self._readings[-1].drifts
        found = [name for name in sorted(latest) if math.isfinite(latest[name])]
        furthest = sorted(found, key=lambda name: -latest[name])[:most]
        return {name: list(self._drift(name)) for name in furthest}

    def shares(self) -> dict[str, list[Point]]:
        """Follow what is known now of how right the alerts were."""
        latest = self._readings[-1].shares if self._readings else {}
        settled = list(self._readings)[SPAN:]
        return {
            name: [(one.at, one.shares[name]) for one in settled if name in one.shares]
            for name in sorted(latest)
        }

    def _drift(self, name: str) -> Iterator[Point]:
        for reading in list(self._readings)[SPAN:]:
            value = reading.drifts.get(name, 0.0)
            if math.isfinite(value):
                yield reading.at, value

    def _add(self, after: Reading) -> None:
        self._readings.append(after)
        if len(self._readings) <= SPAN:
            return
        span = list(self._readings)[-1 - SPAN :]
        if after.at > span[0].at:
            for figure, value in _figures(span).items():
                if math.isfinite(value):
                    line = self._lines.setdefault(figure, deque(maxlen=KEPT))
                    line.append((after.at, value))
        oldest = self._readings[SPAN].at
        for line in self._lines.values():
            while line and line[0][0] < oldest:
                line.popleft()


def _figures(span: Sequence[Reading]) -> dict[str, float]:
    before, after = span[0], span[-1]
    seconds = max(after.at - before.at, 1e-3)

    def rate(name: str) -> float:
        return increase(reading.sums[name] for reading in span) / seconds

    step = after.distributions.since(before.distributions)
    latency = step.buckets(_LATENCY)
    batches = step.get(f"{_BATCH}_count")
    return {
        "Throughput": rate(_EVENTS),
        "Lag": after.sums[_LAG],
        "p50": 1000 * quantile_of(latency, 0.5),
        "p99": 1000 * quantile_of(latency, 0.99),
        "Batch fill": step.get(f"{_BATCH}_sum") / batches if batches else math.nan,
        "Dead letters": rate(_DEAD),
    }

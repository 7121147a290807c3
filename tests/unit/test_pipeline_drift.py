"""Drift over the last days of event time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from prometheus_client import generate_latest

from models.errors import ArtifactError
from models.fraud.drift import reference_of
from streams.metrics import Metrics
from streams.pipeline.drift import LEAST, SAMPLE, DriftWatch

HOUR_MS = 3_600_000
T0 = 400_000 * HOUR_MS
FEATURES = {"card": ["log_amount", "log_gap"], "profile": ["risk_7d"]}
RNG = np.random.default_rng(3)
REFERENCE = reference_of(
    {
        "log_gap": RNG.normal(size=20_000),
        "risk_7d": RNG.normal(size=20_000),
        "score": RNG.random(20_000),
        "hour": RNG.integers(0, 24, 20_000),
    }
)


def feed(
    watch: DriftWatch, n: int, *, gap: float = 0.0, hour: int = 0, batch: int = 4000, seed: int = 0
) -> None:
    rng = np.random.default_rng(seed)
    for begin in range(0, n, batch):
        size = min(batch, n - begin)
        watch.count(
            T0 + (hour + rng.integers(0, 24, size)) * HOUR_MS,
            rng.normal(loc=[0.0, gap], size=(size, 2)).astype(np.float32),
            rng.normal(size=(size, 1)).astype(np.float32),
            rng.random(size).astype(np.float32),
        )


def test_an_empty_batch_counts_nothing() -> None:
    watch = DriftWatch(REFERENCE, FEATURES, 7)
    feed(watch, 0)
    watch.count(
        np.zeros(0, np.int64),
        np.zeros((0, 2), np.float32),
        np.zeros((0, 1), np.float32),
        np.zeros(0, np.float32),
    )
    assert math.isnan(watch.psi("score"))


def test_nothing_is_shown_until_enough_was_seen() -> None:
    watch = DriftWatch(REFERENCE, FEATURES, 7)
    feed(watch, LEAST - 1, batch=SAMPLE)
    assert math.isnan(watch.psi("log_gap"))
    feed(watch, 1)
    assert math.isfinite(watch.psi("log_gap"))


def test_what_moved_is_named_and_the_rest_is_quiet() -> None:
    watch = DriftWatch(REFERENCE, FEATURES, 7)
    feed(watch, 40_000, gap=1.0)
    assert watch.psi("log_gap") > 0.25
    assert max(watch.psi(name) for name in ("risk_7d", "score", "hour")) < 0.05


def test_old_days_leave_the_window() -> None:
    watch = DriftWatch(REFERENCE, FEATURES, 2)
    feed(watch, 40_000, gap=3.0)
    feed(watch, 40_000, hour=5 * 24, seed=1)
    feed(watch, 4_000, gap=3.0)  # late by days: passed by
    assert watch.psi("log_gap") < 0.05


def test_at_most_a_sample_of_a_batch_is_looked_at() -> None:
    watch = DriftWatch(REFERENCE, FEATURES, 7)
    feed(watch, 16_384, batch=16_384)
    assert watch._counts.sum() == SAMPLE * len(REFERENCE)


def test_the_gauges_follow() -> None:
    watch, metrics = DriftWatch(REFERENCE, FEATURES, 7), Metrics("fraud")
    watch.observe(metrics)
    feed(watch, 40_000, gap=1.0)
    text = generate_latest(metrics.registry).decode()
    (line,) = (line for line in text.splitlines() if 'input="log_gap"' in line)
    assert float(line.split()[-1]) == pytest.approx(watch.psi("log_gap"))


def test_without_a_reference_nothing_is_counted() -> None:
    watch = DriftWatch({}, FEATURES, 7)
    feed(watch, 5000)
    watch.observe(Metrics("fraud"))


def test_a_reference_of_other_inputs_is_refused() -> None:
    with pytest.raises(ArtifactError, match="names 'mood', which this version does not compute"):
        DriftWatch({"mood": {"edges": [], "shares": [1.0]}}, FEATURES, 7)

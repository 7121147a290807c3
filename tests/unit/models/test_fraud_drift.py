"""The population stability index against a reference histogram."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.fraud.drift import BINS, bins_of, psi, reference_of


def counted(values: np.ndarray, entry: dict[str, list[float]]) -> np.ndarray:
    edges = np.array(entry["edges"])
    return np.bincount(bins_of(values, edges), minlength=len(edges) + 1)


def test_no_counts_have_no_drift_to_speak_of() -> None:
    assert math.isnan(psi(np.array([0.5, 0.5]), np.array([0, 0])))


def test_a_reference_has_equal_shares_and_sees_itself_unmoved() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    entry = reference_of({"amount": values})["amount"]

    assert len(entry["edges"]) == BINS - 1
    np.testing.assert_allclose(entry["shares"], 1 / BINS, atol=1e-3)
    assert psi(np.array(entry["shares"]), counted(values, entry)) == pytest.approx(0.0, abs=1e-9)


def test_psi_is_what_the_formula_says_and_symmetric() -> None:
    half, quarter = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    expected = 0.25 * math.log(0.25 / 0.5) * -1 + 0.25 * math.log(0.75 / 0.5)
    assert psi(half, np.array([25, 75])) == pytest.approx(expected)
    assert psi(quarter, np.array([50, 50])) == pytest.approx(expected)


def test_a_shift_of_one_deviation_is_another_world_and_chance_is_not() -> None:
    rng = np.random.default_rng(2)
    entry = reference_of({"x": rng.normal(size=20_000)})["x"]
    shares = np.array(entry["shares"])
    assert psi(shares, counted(rng.normal(size=5000), entry)) < 0.02
    assert psi(shares, counted(rng.normal(loc=1.0, size=5000), entry)) > 0.25


def test_values_that_repeat_make_fewer_bins() -> None:
    mostly_zero = np.zeros(1000)
    mostly_zero[:50] = np.arange(50)
    entry = reference_of({"risk": mostly_zero})["risk"]
    assert len(entry["edges"]) == len(set(entry["edges"])) < BINS - 1
    assert sum(entry["shares"]) == pytest.approx(1.0)


def test_a_constant_that_moves_is_drift() -> None:
    entry = reference_of({"x": np.zeros(100)})["x"]
    assert psi(np.array(entry["shares"]), counted(np.zeros(100), entry)) == 0.0
    assert psi(np.array(entry["shares"]), counted(np.full(100, -1.0), entry)) > 1.0


def test_a_bin_that_was_never_met_is_finite() -> None:
    assert math.isfinite(psi(np.array([1.0, 0.0]), np.array([0, 10])))

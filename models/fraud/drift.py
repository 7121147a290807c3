"""Has what comes in changed? The population stability index against a reference histogram.

PSI is the sum over bins of (p - q) ln(p / q), symmetric and 0 for equal shares. By the usual rule
of thumb below 0.1 nothing has moved, above 0.25 the network sees another world. Source: Siddiqi,
*Credit Risk Scorecards*, 2006; the bounds are conventions, not tests.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

BINS = 10

Reference = dict[str, dict[str, list[float]]]
"""By input: ``edges``, K rising values, and ``shares``, K+1 that add up to 1."""

_LEAST_SHARE = 1e-4
"""A bin that one side never met counts as this much: one stray value must not be infinite drift."""


def reference_of(columns: Mapping[str, npt.NDArray[np.floating]], bins: int = BINS) -> Reference:
    """Build the reference of some inputs: edges at their quantiles, and the shares between.

    Args:
        columns: (N,) finite values by name, N > 0. Values that repeat make fewer bins.
        bins: wanted.
    """
    reference: Reference = {}
    for name, values in columns.items():
        wanted = np.quantile(values.astype(np.float64), np.arange(1, bins) / bins)
        edges = np.unique(wanted.astype(np.float32)).astype(np.float64)
        counts = np.bincount(bins_of(values, edges), minlength=len(edges) + 1)
        reference[name] = {"edges": edges.tolist(), "shares": (counts / counts.sum()).tolist()}
    return reference


def bins_of(
    values: npt.NDArray[np.floating], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """(N,) values -> (N,) bins 0..K; a value on an edge belongs above it."""
    return np.searchsorted(edges, values, side="right")


def psi(shares: npt.NDArray[np.float64], counts: npt.NDArray[np.integer]) -> float:
    """PSI of (K+1,) counts against (K+1,) reference shares; nan without a count."""
    total = counts.sum()
    if not total:
        return float("nan")
    ours = np.maximum(counts / total, _LEAST_SHARE)
    theirs = np.maximum(shares, _LEAST_SHARE)
    return float(((ours - theirs) * np.log(ours / theirs)).sum())

"""The plots of `tocsin report fraud`: SVG files, the same byte for byte for the same figures."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streams.cli.fraud_evaluation import Trained
from streams.errors import TocsinError


def plot_calibration(report: Trained, path: Path) -> None:
    """Share of frauds by score, both on a log scale; on the line a score is a probability."""
    curve = report["findings"]["calibration"]
    figure, axes = _figure("score", "share of frauds")
    low = 1e-5
    axes.plot([low, 1], [low, 1], color="0.7", linewidth=1)
    axes.plot(
        [max(score, low) for score in curve["score"]],
        [max(share, low) for share in curve["fraud_share"]],
        marker="o",
    )
    axes.set(xscale="log", yscale="log")
    _save(figure, path)


def plot_folds(report: Trained, path: Path) -> None:
    """AP of each fold, a line a model."""
    figure, axes = _figure("first training day", "AP")
    rows: dict[str, Mapping[str, Any]] = {"network": report, **report["baselines"]}
    if report["ceiling"]:
        rows["ceiling"] = report["ceiling"]
    for name, row in rows.items():
        axes.plot([fold["ap"] for fold in row["folds"]], "o-", label=name)
    axes.set_xticks(range(len(report["train_starts"])), report["train_starts"])
    axes.legend(fontsize=7)
    _save(figure, path)


def plot_curve(curve: Sequence[Sequence[float]], path: Path) -> None:
    """Loss by step."""
    figure, axes = _figure("step", "loss")
    axes.plot([point[0] for point in curve], [point[1] for point in curve])
    axes.set(yscale="log")
    _save(figure, path)


def _figure(x: str, y: str) -> tuple[Any, Any]:
    """Axes without a window: matplotlib's object interface keeps no global state.

    Raises:
        TocsinError: matplotlib is not installed.
    """
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ModuleNotFoundError:
        raise TocsinError("plots need matplotlib: pip install 'tocsin[eval]'") from None
    figure = figures.Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    """Write without the date, and with ids that hang on what is drawn, not on chance."""
    matplotlib = importlib.import_module("matplotlib")
    with matplotlib.rc_context({"svg.hashsalt": "tocsin"}):
        figure.savefig(path, metadata={"Date": None})

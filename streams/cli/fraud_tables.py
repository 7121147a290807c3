"""The tables of `tocsin evaluate fraud`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from models.fraud.evaluation import METRICS
from models.fraud.tuning import Tuned

_HEADINGS = {"auc": "AUC", "ap": "AP", "cp100": "CP@100"}


def show_folds(title: str, judged: Mapping[str, Any]) -> None:
    """One row a fold, and their mean."""
    table = _table(title, "fold", *METRICS)
    for row in (*judged["folds"], {"start": "mean", **judged["mean"]}):
        table.add_row(row["start"], *(f"{row[name]:.4f}" for name in METRICS))
    _print(table)


def show_comparison(report: Mapping[str, Any]) -> None:
    """One row a model: mean and standard deviation over the folds, then the AP of each fold."""
    starts = report["train_starts"]
    table = _table(
        f"mode {report['mode']}: mean ± standard deviation over the folds; AP of each fold",
        "",
        *_HEADINGS.values(),
        *(start[5:] for start in starts),  # month and day
    )
    rows = dict(report["baselines"])
    if report["mean"]:
        network = {**report["mean"], "std": report["std"], "folds": report["folds"]}
        rows = {f"network, seeds: {report['seeds']}": network, **rows}
    if report["ceiling"] is not None:
        rows["ceiling"] = report["ceiling"]
    for name, row in rows.items():
        table.add_row(
            name,
            *(f"{row[metric]:.3f}±{row['std'][metric]:.3f}" for metric in METRICS),
            *(f"{fold['ap']:.3f}" for fold in row["folds"]),
        )
    _print(table)


def show_streamed(judged: Mapping[str, Any]) -> None:
    """One row a fold: the figures of the stream, those offline, the largest difference."""
    table = _table("through Kafka and the agents, and offline", "fold", *METRICS, "offline", "diff")
    mean = {"start": "mean", **judged["mean"], "offline": judged["offline"]}
    for row in (*judged["folds"], mean):
        table.add_row(
            row["start"],
            *(f"{row[name]:.4f}" for name in METRICS),
            " ".join(f"{row['offline'][name]:.4f}" for name in METRICS),
            f"{row['max_abs_diff']:.1e}" if "max_abs_diff" in row else "",
        )
    _print(table)


def show_tuned(mode: str, name: str, tuned: Tuned) -> None:
    """What a search chose, as one line."""
    params = ", ".join(f"{key}={value}" for key, value in tuned.best.params.items())
    figures = ", ".join(
        f"{heading} {getattr(tuned.best, metric):.3f}" for metric, heading in _HEADINGS.items()
    )
    print(f"mode {mode}, {name}: {params} ({figures} on the validation folds)")


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))


def _print(table: Table) -> None:
    Console(highlight=False).print(table)

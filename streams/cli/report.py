"""`tocsin report`: what an evaluation found, for people who do not run it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.start import start
from streams.errors import SettingsError, TocsinError

if TYPE_CHECKING:  # torch takes seconds to import
    from models.checkpoint import Manifest

_METRICS = {"auc": "AUC", "ap": "AP", "cp100": "CP@100"}

_BOOK_WITHOUT_LABELS = (
    "The Fraud Detection Handbook publishes (chapter 7.3, one validation week, not our runs):",
    "",
    "| model | AUC | AP | CP@100 |",
    "|---|---|---|---|",
    "| the book's autoencoder | 0.836 | 0.180 | 0.217 |",
    "| the book's isolation forest | 0.808 | 0.164 | 0.190 |",
    "",
    (
        "Its inputs hold each terminal's risk, which is made of labels; ours above do not, so the "
        "two tables answer different questions."
    ),
)
"""What the book says of detectors that are trained without labels."""

app = typer.Typer(
    rich_markup_mode="markdown", no_args_is_help=True, help="Write reports and model cards."
)


@app.callback()
def group() -> None:
    """Write reports and model cards."""


@app.command()
def fraud(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="REPORT.json...",
            help="What tocsin evaluate fraud --report wrote: mode B, then perhaps mode A.",
        ),
    ],
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for report.md, its plots and the card.")
    ] = Path("docs/fraud"),
) -> None:
    """Write a report for a risk manager, with plots, and the model card of the served network."""
    from models.fraud.network import load_fraud  # noqa: PLC0415

    settings = start()
    reports = [_read(path) for path in files]
    _, manifest = load_fraud(settings.fraud.model)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out, reports, manifest)
    except OSError as error:
        raise SettingsError(f"cannot write to {out}: {error.strerror}") from None
    print(f"wrote {out}/report.md, {out}/model-card.md and three plots")


def _write(out: Path, reports: Sequence[Mapping[str, Any]], manifest: Manifest) -> None:
    from models.fraud.card import model_card  # noqa: PLC0415  imports torch

    first = reports[0]
    _plot_calibration(first, out / "calibration.svg")
    _plot_folds(first, out / "folds.svg")
    _plot_curve(manifest.training.get("curve", []), out / "learning-curve.svg")
    (out / "report.md").write_text("\n".join(_report(reports)), encoding="utf-8")
    (out / "model-card.md").write_text(model_card(manifest, first), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        report: Any = json.loads(path.read_bytes())  # takes the nan of reports of old, too
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    if not isinstance(report, dict) or not report.get("findings"):
        raise SettingsError(
            f"{path} is no report on trained networks: make it with tocsin evaluate fraud --report"
        )
    return report


def _report(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    first = reports[0]
    lines = [
        "# How well the fraud network does",
        "",
        (
            "Made by `tocsin report fraud` from `tocsin evaluate fraud --report`. AUC: how often a "
            "fraud outranks a genuine payment. AP: how pure the list of alerts is, from its top "
            "down. CP@100: of the hundred most suspicious cards of a day, the share with a fraud. "
            "Each fold trains on what was known on a day and is judged on a later week; the "
            "ceiling is what perfect knowledge of the rules behind the simulated data would reach."
        ),
        "",
    ]
    for report in reports:
        lines += [
            f"## Mode {report['mode']}: "
            + ("learns from the training week alone" if report["mode"] == "A" else "all labels"),
            "",
            *_models(report),
            "",
        ]
    lines += ["![AP of each fold](folds.svg)", ""]
    if first.get("streamed"):
        lines += ["## The same networks in service", "", *_streamed(first["streamed"]), ""]
    found = first["findings"]
    calibration, delay = found["calibration"], found["delay"]
    lines += [
        "## Are scores probabilities?",
        "",
        (
            f"Expected calibration error {calibration['ece']:.5f}, Brier score "
            f"{calibration['brier']:.5f}, over the test weeks of all folds."
        ),
        "",
        "![Reliability](calibration.svg)",
        "",
        "## How soon does it speak?",
        "",
        (
            f"At a budget of {found['alerts_per_day']} alerts a day: of {delay['terminals']} "
            f"terminals whose first fraud was labelled in a test week, {delay['alerted']} raised "
            f"an alert in that week, the median of them {_days(delay['median_days'])} after the "
            "label. (Most first frauds are a card's, and their terminals rightly stay silent.)"
        ),
        "",
        "## Without labels",
        "",
        (
            "Novelty says how unlike its card a payment is; no label enters it. As a detector "
            "alone, beside others that see no label:"
        ),
        "",
        *_rows(first["unsupervised"]),
        "",
        *_BOOK_WITHOUT_LABELS,
        "",
        "## Who is served worse?",
        "",
        "See the slices in the [model card](model-card.md).",
        "",
        "![Learning curve of the served network](learning-curve.svg)",
        "",
        (
            f"Served network: version {first['artifact']['version']}, "
            f"`sha256:{first['artifact']['sha256']}`."
        ),
        "",
    ]
    return lines


def _models(report: Mapping[str, Any]) -> list[str]:
    network = {**report["mean"], "std": report["std"], "folds": report["folds"]}
    rows = {f"network, seeds: {report['seeds']}": network, **report["baselines"]}
    if report["ceiling"]:
        rows["ceiling"] = report["ceiling"]
    return _rows(rows)


def _rows(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row a model: mean and standard deviation over the folds."""
    lines = [f"| model | {' | '.join(_METRICS.values())} |", "|---|---|---|---|"]
    for name, row in rows.items():
        cells = (f"{row[key]:.4f} ± {row['std'][key]:.4f}" for key in _METRICS)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _streamed(streamed: Mapping[str, Any]) -> list[str]:
    lines = [
        "Every payment through Kafka and the agents, labels seven days late:",
        "",
        "| fold | AUC, AP, CP@100 streamed | offline | largest difference of a score |",
        "|---|---|---|---|",
    ]
    mean = {"start": "mean", **streamed["mean"], "offline": streamed["offline"]}
    for row in (*streamed["folds"], mean):
        there, here = (
            ", ".join(f"{figures[key]:.4f}" for key in _METRICS)
            for figures in (row, row["offline"])
        )
        worst = f"{row['max_abs_diff']:.1e}" if "max_abs_diff" in row else ""
        lines.append(f"| {row['start']} | {there} | {here} | {worst} |")
    return lines


def _days(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} days"


def _plot_calibration(report: Mapping[str, Any], path: Path) -> None:
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
    figure.savefig(path)


def _plot_folds(report: Mapping[str, Any], path: Path) -> None:
    figure, axes = _figure("first training day", "AP")
    rows = {"network": report, **report["baselines"]}
    if report["ceiling"]:
        rows["ceiling"] = report["ceiling"]
    for name, row in rows.items():
        axes.plot([fold["ap"] for fold in row["folds"]], "o-", label=name)
    axes.set_xticks(range(len(report["train_starts"])), report["train_starts"])
    axes.legend(fontsize=7)
    figure.savefig(path)


def _plot_curve(curve: Sequence[Sequence[float]], path: Path) -> None:
    figure, axes = _figure("step", "loss")
    axes.plot([point[0] for point in curve], [point[1] for point in curve])
    axes.set(yscale="log")
    figure.savefig(path)


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

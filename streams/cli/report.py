"""`tocsin report`: what an evaluation found, for people who do not run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.fraud_evaluation import Shipped, Trained, read_evaluation
from streams.cli.fraud_plots import plot_calibration, plot_curve, plot_folds
from streams.cli.fraud_report import report_text
from streams.cli.start import start
from streams.errors import SettingsError

if TYPE_CHECKING:  # torch takes seconds to import
    from models.checkpoint import Manifest

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
            help="What tocsin evaluate fraud --report wrote: mode B, then perhaps mode A, and "
            "perhaps the served network's, with --offline.",
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
    reports: list[Trained] = []
    judged: list[tuple[Path, Shipped]] = []
    for path in files:
        found = read_evaluation(path)
        if "source" in found:
            judged.append((path, found))
        else:
            reports.append(found)
    if not reports:
        raise SettingsError(f"{files[0]} is of the served network alone: give a mode's report too")
    _, manifest = load_fraud(settings.fraud.model)
    shipped = _served(judged, reports[0], manifest)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out, reports, shipped, manifest)
    except OSError as error:
        raise SettingsError(f"cannot write to {out}: {error.strerror}") from None
    print(f"wrote {out}/report.md, {out}/model-card.md and three plots")


def _served(
    judged: Sequence[tuple[Path, Shipped]], report: Trained, manifest: Manifest
) -> Shipped | None:
    """The judgement of the served network, if one is given.

    Raises:
        SettingsError: there are two, or it is of another network, of other folds or of other data.
    """
    if not judged:
        return None
    if len(judged) > 1:
        raise SettingsError(f"{judged[1][0]} is a second report of the served network: give one")
    ((path, shipped),) = judged
    again = "run tocsin evaluate fraud --offline --report again"
    sha256 = shipped["artifact"]["sha256"]
    if sha256 != manifest.sha256:
        raise SettingsError(
            f"{path} judges the network {sha256[:12]} where {manifest.sha256[:12]} is served: "
            f"{again}"
        )
    starts = [fold["start"] for fold in shipped["folds"]]
    if starts != report["train_starts"] or shipped["data"] != report["data"]:
        raise SettingsError(f"{path} judges other folds or data than the mode's report: {again}")
    return shipped


def _write(
    out: Path, reports: Sequence[Trained], shipped: Shipped | None, manifest: Manifest
) -> None:
    from models.fraud.card import model_card  # noqa: PLC0415  imports torch

    first = reports[0]
    plot_calibration(first, out / "calibration.svg")
    plot_folds(first, out / "folds.svg")
    plot_curve(manifest.training.get("curve", []), out / "learning-curve.svg")
    choices = (out / "choices.md").is_file()
    (out / "report.md").write_text(
        report_text(reports, shipped, manifest, choices=choices), encoding="utf-8"
    )
    (out / "model-card.md").write_text(model_card(manifest, first), encoding="utf-8")

"""The text of `tocsin report fraud`: Markdown for a risk manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from models.fraud.book import BOOK_FEATURES
from models.fraud.tuning import read_choices
from streams.cli.fraud_evaluation import Findings, Shipped, Streamed, Summary, Trained

if TYPE_CHECKING:  # torch takes seconds to import
    from models.checkpoint import Manifest

_METRICS: Final = {"auc": "AUC", "ap": "AP", "cp100": "CP@100"}

_MODES: Final = {"A": "learns from the training week alone", "B": "all labels"}

_BOOK_WITHOUT_LABELS: Final = (
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


def report_text(
    reports: Sequence[Trained], shipped: Shipped | None, manifest: Manifest, *, choices: bool
) -> str:
    """The whole page.

    Args:
        reports: what is said of single networks is of the first.
        shipped: the same folds judged by the served network; None leaves them out.
        manifest: of the served network.
        choices: whether ``choices.md`` lies beside the page.
    """
    first = reports[0]
    lines = [*_introduction(), *_legend(reports, manifest)]
    for report in reports:
        lines += [f"## Mode {report['mode']}: {_MODES[report['mode']]}", "", *_models(report), ""]
    if choices:
        lines += [
            (
                "How the network was chosen, on the validation folds alone: "
                "[its choices](choices.md)."
            ),
            "",
        ]
    lines += ["![AP of each fold](folds.svg)", ""]
    if shipped is not None:
        lines += ["## As shipped", "", *_shipped(shipped, manifest), ""]
    if "streamed" in first:
        lines += ["## The same networks in service", "", *_streamed(first["streamed"]), ""]
    lines += [
        *_findings(first["findings"]),
        "## Without labels",
        "",
        *_without_labels(first["unsupervised"]),
        "",
        "## Who is served worse?",
        "",
        "See the slices in the [model card](model-card.md).",
        "",
        "![Learning curve of the served network](learning-curve.svg)",
        "",
        f"Served network: version {manifest.version}, `sha256:{manifest.sha256}`.",
        "",
    ]
    return "\n".join(lines)


def _introduction() -> list[str]:
    return [
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


def _legend(reports: Sequence[Trained], manifest: Manifest) -> list[str]:
    """What each model's name means, of those that the tables have."""
    ours = sum(map(len, manifest.features.values()))
    book = f"the {len(BOOK_FEATURES)} inputs of the Fraud Detection Handbook"
    boosted = "boosted trees, each of which mends what those before it missed"
    meanings = {
        "network": "Tocsin's: it remembers the sequence of each card's payments, "
        f"and is given {ours} inputs of the payment, its card and its terminal",
        "logistic_book": f"logistic regression on {book}: amount, weekend, night, and over 1, 7 "
        "and 30 days the payments and mean amount of the card, the payments and share of frauds "
        "of the terminal",
        "random_forest_book": "random forest, the mean of many trees, on the book's inputs",
        "xgboost_book": f"XGBoost, {boosted}, on the book's inputs",
        "lightgbm_book": "LightGBM, boosted trees of another library, on the book's inputs",
        "xgboost": f"XGBoost on the network's {ours} inputs: trees do not see the sequence that "
        "the network remembers",
        "lightgbm": "LightGBM on the same",
        "ceiling": "perfect knowledge of the rules behind the data, of labels no more than the "
        "others have",
    }
    shown = {"network"}.union(*(report["baselines"] for report in reports))
    if any(report["ceiling"] for report in reports):
        shown.add("ceiling")
    rows = [f"| {name} | {text} |" for name, text in meanings.items() if name in shown]
    return ["| model | what it is |", "|---|---|", *rows, ""]


def _models(report: Trained) -> list[str]:
    network = {**report["mean"], "std": report["std"]}
    rows: dict[str, Mapping[str, Any]] = {
        f"network, seeds: {report['seeds']}": network,
        **report["baselines"],
    }
    if report["ceiling"]:
        rows["ceiling"] = report["ceiling"]
    said = [*_histograms(report), f"The run that wrote this took {report['seconds']:,.0f} s."]
    return [*_rows(rows), "", " ".join(said)]


def _histograms(report: Trained) -> list[str]:
    """Why XGBoost does not work by its exact method, where it does not."""
    choices = read_choices().get(report["mode"], {})
    lines = []
    for name in ("xgboost", "xgboost_book"):
        params = report["baselines"][name]["params"] if name in report["baselines"] else {}
        if params.get("tree_method") == "hist" and name in choices:
            trials = choices[name].trials
            exact = [trial.ap for trial in trials if trial.params["tree_method"] == "exact"]
            lines.append(
                f"`{name}` works on histograms of {params['max_bin']:,} bins: on the validation "
                f"folds the best of {len(trials) - len(exact)} such configurations had AP "
                f"{choices[name].best.ap:.3f}, the best of {len(exact)} by the `exact` method "
                f"{max(exact):.3f}."
            )
    return lines


def _rows(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row a model: mean and standard deviation over the folds."""
    lines = [f"| model | {' | '.join(_METRICS.values())} |", "|---|---|---|---|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(_spread(row, row['std']))} |")
    return lines


def _spread(mean: Mapping[str, Any], std: Mapping[str, Any]) -> Iterable[str]:
    return (f"{mean[key]:.4f} ± {std[key]:.4f}" for key in _METRICS)


def _shipped(shipped: Shipped, manifest: Manifest) -> list[str]:
    source = manifest.training.get("data", {}).get("source")
    trained = (
        "was trained on Tocsin's own simulator alone and has never seen a payment of this data"
        if source == "simulator"
        else f"was trained on {source}"
    )
    return [
        (
            f"The networks above are trained for each fold. The served one {trained}; on the same "
            "folds it has:"
        ),
        "",
        "| fold | AUC | AP | CP@100 |",
        "|---|---|---|---|",
        *(
            f"| {fold['start']} | {fold['auc']:.4f} | {fold['ap']:.4f} | {fold['cp100']:.4f} |"
            for fold in shipped["folds"]
        ),
        f"| mean | {' | '.join(_spread(shipped['mean'], shipped['std']))} |",
    ]


def _streamed(streamed: Streamed) -> list[str]:
    lines = [
        "Every payment through Kafka and the agents, labels seven days late:",
        "",
        "| fold | AUC, AP, CP@100 streamed | offline | largest difference of a score |",
        "|---|---|---|---|",
    ]
    mean = {"start": "mean", **streamed["mean"], "offline": streamed["offline"]}
    rows: list[Mapping[str, Any]] = [*streamed["folds"], mean]
    for row in rows:
        there, here = (
            ", ".join(f"{figures[key]:.4f}" for key in _METRICS)
            for figures in (row, row["offline"])
        )
        worst = f"{row['max_abs_diff']:.1e}" if "max_abs_diff" in row else ""
        lines.append(f"| {row['start']} | {there} | {here} | {worst} |")
    return lines


def _findings(found: Findings) -> list[str]:
    calibration, budget, delay = found["calibration"], found["budget"], found["delay"]
    within = [
        f"{share:.1%} within {label.removesuffix('d')} day{'' if label == '1d' else 's'}"
        for label, share in delay["within"].items()
        if share is not None
    ]
    return [
        "## Are scores probabilities?",
        "",
        (
            f"Expected calibration error {calibration['ece']:.5f}, Brier score "
            f"{calibration['brier']:.5f}, over the test weeks of all folds."
        ),
        "",
        "![Reliability](calibration.svg)",
        "",
        f"## What does a desk of {found['alerts_per_day']} alerts a day see?",
        "",
        (
            "With each fold's threshold where its test week has so many alerts, "
            f"{budget['precision']:.1%} of the alerts are frauds (precision), and "
            f"{budget['recall']:.1%} of the frauds raise an alert (recall). (A card that is known "
            "to be compromised is left out of both.)"
        ),
        "",
        "## How soon does it speak?",
        "",
        (
            f"At a budget of {found['alerts_per_day']} alerts a day: of {delay['terminals']} "
            f"terminals whose first fraud was labelled in a test week, {delay['alerted']} raised "
            f"an alert in that week, the median of them {_days(delay['median_days'])} after the "
            "label. (Most first frauds are a card's, and their terminals rightly stay silent.)"
        ),
        *(
            [
                "",
                (
                    f"Share of these terminals that had alerted: {', '.join(within)} of the label; "
                    "the week ends for all at once, so those labelled late in it had less time."
                ),
            ]
            if within
            else []
        ),
        "",
    ]


def _days(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} days"


def _without_labels(detectors: Mapping[str, Summary]) -> list[str]:
    lines = [
        (
            "Novelty says how unlike its card a payment is; no label enters it. As a detector "
            "alone, beside others that see no label:"
        ),
        "",
        *_rows(detectors),
        "",
    ]
    autoencoder = detectors.get("autoencoder")
    if autoencoder and autoencoder["ap"] > detectors["novelty"]["ap"]:
        lines += [
            (
                "By AP novelty alone is weaker than the autoencoder: it is shown beside the score, "
                "not in its place."
            ),
            "",
        ]
    return [*lines, *_BOOK_WITHOUT_LABELS]

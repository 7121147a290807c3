"""The model card of a fraud network, from its manifest: what it is for, made of, and bad at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.checkpoint import Manifest

_LIMITS = (
    (
        "It has never seen a real payment if its data came from a simulator: measure it on yours, "
        "and retrain it from your verdicts, before you act on its scores."
    ),
    (
        "It knows a fraud of a new kind only by its likeness to old ones; novelty, shown beside "
        "the score, needs no labels but is no verdict."
    ),
    "A fraud at a terminal without known frauds, of an ordinary amount, cannot be seen by anyone.",
    (
        "Scores are probabilities for the share of frauds that it was calibrated on; where that "
        "share moves, they move away from it: watch the drift gauges."
    ),
    (
        "After a rebuild of the labels agent's state, labels whose cards' large transactions have "
        "been pushed out of the cards' rows count as unexplained."
    ),
)

_PATENTS = (
    "Scoring payments with a recurrent network that keeps a state for each card is covered by "
    "patents of third parties in some jurisdictions. Check whether you need a licence before you "
    "use it for payments."
)


def model_card(manifest: Manifest, report: Mapping[str, Any] | None = None) -> str:
    """Render the card as Markdown.

    Args:
        manifest: of the network.
        report: what ``tocsin evaluate fraud --report`` wrote, for metrics by fold and slices of
            networks of this architecture; None leaves them out.
    """
    training = {k: v for k, v in manifest.training.items() if k != "curve"}
    lines = [
        f"# Model card: {manifest.name} {manifest.version}",
        "",
        f"Weights `sha256:{manifest.sha256}`, made on {manifest.created}.",
        "",
        "## Intended use",
        "",
        (
            "Ranks card payments by the probability of fraud, for people who decide. It is not "
            "meant to refuse a payment by itself, nor to judge people: its inputs are amounts, "
            "times, terminals and verdicts, and no trait of a person."
        ),
        "",
        _PATENTS,
        "",
        "## Data and training",
        "",
        *_table(("what", "value"), _flat(training).items()),
        "",
        "## Metrics on the days held out",
        "",
        *_table(("metric", "value"), manifest.metrics.items()),
        "",
        f"Suggested threshold: {manifest.threshold:.4f}.",
        "",
    ]
    if report is not None:
        lines += ["## By fold, and by slice", "", *_evaluated(report), ""]
    lines += ["## Known limits", "", *(f"- {limit}" for limit in _LIMITS), ""]
    return "\n".join(lines)


def _evaluated(report: Mapping[str, Any]) -> list[str]:
    folds = [(fold["start"], fold["auc"], fold["ap"], fold["cp100"]) for fold in report["folds"]]
    lines = [
        (
            f"Networks of this architecture, one trained for each fold (mode {report['mode']}, "
            f"seeds: {report['seeds']}), not the shipped weights:"
        ),
        "",
        *_table(("fold", "AUC", "AP", "CP@100"), folds),
    ]
    for name, slices in report["findings"]["slices"].items():
        rows = [
            (
                f"{part['low']:.6g} to {part['high']:.6g}",
                part["count"],
                part["frauds"],
                *(part[key] for key in ("auc", "ap", "alert_rate", "precision", "recall")),
            )
            for part in slices
        ]
        heading = (name, "payments", "frauds", "AUC", "AP", "alert rate", "precision", "recall")
        lines += ["", *_table(heading, rows)]
    return lines


def _table(heading: tuple[str, ...], rows: Any) -> list[str]:
    """Markdown rows; numbers to four digits, what has no meaning as a dash."""
    cells = [[_text(cell) for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *cells)]


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  nan
        return "-"
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat

"""`tocsin evaluate fraud`: the network beside its baselines, or scores that exist."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from models.fraud.baselines import require_libraries
from models.fraud.ceiling import ceilings
from models.fraud.evaluation import TEST_STARTS, VALIDATION_STARTS, Fold, kept_rows
from models.fraud.transactions import Transactions
from streams.cli.fraud_contest import (
    compare_models,
    find_parameters,
    kept_networks,
    named_baselines,
)
from streams.cli.fraud_options import refuse_contradictions
from streams.cli.fraud_scores import judge_scores
from streams.cli.fraud_tables import show_comparison, show_folds, show_streamed
from streams.cli.options import Report, write_report
from streams.cli.start import start
from streams.errors import SettingsError
from streams.producers.files import column_map, read_history
from streams.settings import Settings

if TYPE_CHECKING:  # torch takes seconds to import
    from streams.cli.fraud_streamed import StreamedFolds

_NAMED_STARTS = {"test": TEST_STARTS, "validation": VALIDATION_STARTS}


def fraud(
    ctx: typer.Context,
    *,
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", help="Parquet or CSV with the verdicts; repeat it in order of time."
        ),
    ],
    columns: Annotated[
        str, typer.Option("--map", metavar="FIELD=COLUMN,...", help="Columns of --data.")
    ] = "",
    train_starts: Annotated[
        str,
        typer.Option(
            metavar="DATE,...|test|validation",
            help="First training day of each fold, or the protocol's own test or validation folds.",
        ),
    ] = "test",
    mode: Annotated[
        Literal["A", "B"],
        typer.Option(help="Learn from the training week alone (A) or from all labelled by then."),
    ] = "B",
    seeds: Annotated[
        int, typer.Option(min=0, help="Networks trained a fold; 0 leaves the network out.")
    ] = 3,
    baselines: Annotated[
        bool, typer.Option(help="Measure the usual models beside the network.")
    ] = True,
    only: Annotated[
        str, typer.Option(metavar="NAME,...", help="Of the baselines, these alone.")
    ] = "",
    oracle: Annotated[
        bool,
        typer.Option("--oracle", help="Show the ceiling too; it reads TX_FRAUD_SCENARIO."),
    ] = False,
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="Find the baselines' parameters on the validation folds, and end."
        ),
    ] = False,
    scores_topic: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Judge the scores that a worker published there."),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Judge the served network, with labels 7 days late."),
    ] = False,
    streamed: Annotated[
        bool,
        typer.Option(
            "--streamed", help="Also send each fold's first network through Kafka and the agents."
        ),
    ] = False,
    bootstrap: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="With --streamed: this broker, not one of its own."),
    ] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With --streamed: this Redis, not one of its own."),
    ] = None,
    report: Report = None,
) -> None:
    """Print AUC, average precision and CP@100 by the Fraud Detection Handbook's protocol.

    Trains a network for each fold and seed and the usual models for each fold, on the same rows,
    and prints them side by side. A fold's training week begins at its start; a week later, when
    its labels have arrived, comes the test week.

    With --report an interrupted run leaves the networks that it has trained in REPORT.networks, and
    the same command goes on from there.

    --scores-topic and --offline judge scores that exist instead and train nothing; together they
    also print the largest difference between a streamed and an offline score.
    """
    refuse_contradictions(ctx)
    judging = scores_topic is not None or offline
    settings = start()
    wanted = named_baselines(only) if baselines and not judging else ()
    if wanted:
        require_libraries()
    transactions = read_history(data, column_map(columns), verdicts=True)
    if tune:
        find_parameters(transactions, mode, wanted)
        return
    starts = _starts(train_starts, transactions)
    about = {
        "artifact": _artifact(settings),
        "data": [{"file": path.name, "sha256": _sha256(path)} for path in data],
    }
    if judging:
        folds = [Fold.of(transactions, one) for one in starts]
        result = judge_scores(settings, transactions, folds, scores_topic, offline=offline)
        if oracle:
            result["ceiling"] = ceilings(transactions, folds)
            show_folds("ceiling", {**result["ceiling"], "mean": result["ceiling"]})
        write_report(report, {**result, **about})
        return
    stream = _streamed_folds(bootstrap, redis_url) if streamed else None
    with kept_networks(report) as folder:
        result = compare_models(
            transactions,
            starts,
            mode,
            seeds,
            wanted,
            oracle=oracle,
            on_first=stream.keep if stream else None,
            folder=folder,
        )
        show_comparison(result)
        write_report(report, {**result, **about})
        if stream:
            result["streamed"] = stream.judge(settings, transactions)
            show_streamed(result["streamed"])
            write_report(report, {**result, **about})


def _streamed_folds(bootstrap: str | None, redis_url: str | None) -> StreamedFolds:
    from streams.cli.fraud_streamed import StreamedFolds  # noqa: PLC0415  imports torch

    return StreamedFolds(bootstrap, redis_url)


def _starts(text: str, transactions: Transactions) -> Sequence[str]:
    """The folds that were named; of the protocol's own those that the data covers.

    Raises:
        SettingsError: no fold is left, or one is named twice.
    """
    named = _NAMED_STARTS.get(text)
    if named is None:
        starts = [part.strip() for part in text.split(",") if part.strip()]
        for one in starts:
            if starts.count(one) > 1:
                raise SettingsError(f"--train-starts names {one} twice: name each fold once")
    else:
        starts = [one for one in named if kept_rows(transactions, one).any()]
    if not starts:
        raise SettingsError(
            f"the data has no transaction in the {text} weeks of the protocol: give --train-starts"
            if named
            else "--train-starts names no fold: write 2018-08-15,2018-08-08"
        )
    return starts


def _artifact(settings: Settings) -> dict[str, str]:
    """Name, version and checksum of the network that the settings have a worker serve."""
    from models.fraud.network import load_fraud  # noqa: PLC0415  imports torch

    _, manifest = load_fraud(settings.fraud.model)
    return {"name": manifest.name, "version": manifest.version, "sha256": manifest.sha256}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

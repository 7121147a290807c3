"""`tocsin evaluate`: how good the scores are, those that were streamed above all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from models.fraud.evaluation import TEST_STARTS, VALIDATION_STARTS, fold_metrics, kept_rows
from models.fraud.transactions import Transactions
from streams.cli.evaluate_detector import detector
from streams.cli.evaluate_tracker import tracker
from streams.cli.evaluate_video import video
from streams.cli.options import write_report
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.errors import SettingsError, TocsinError
from streams.producers.files import column_map, read_transactions
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS, decode_score
from streams.settings import Settings

app = typer.Typer(
    rich_markup_mode="markdown", no_args_is_help=True, help="Measure a network against the truth."
)

_STARTS = {"test": TEST_STARTS, "validation": VALIDATION_STARTS}
_METRICS = ("auc", "ap", "cp100")
_LABEL_DELAY_DAYS = 7.0

Scores = npt.NDArray[np.float32]


@app.callback()
def group() -> None:
    """Measure a network against the truth."""


app.command()(detector)


@app.command()
def fraud(
    *,
    data: Annotated[Path, typer.Option(metavar="FILE", help="Parquet or CSV with the verdicts.")],
    columns: Annotated[
        str, typer.Option("--map", metavar="FIELD=COLUMN,...", help="Columns of --data.")
    ] = "",
    scores_topic: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Judge the scores that a worker published there."),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Score the file here, with labels 7 days late."),
    ] = False,
    folds: Annotated[
        Literal["test", "validation"], typer.Option(help="Which weeks to judge.")
    ] = "test",
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the figures as one JSON object.")
    ] = None,
) -> None:
    """Print AUC, average precision and CP@100 by the Fraud Detection Handbook's protocol.

    With --scores-topic and --offline together it also prints the largest difference between a
    streamed score and the same network's offline score.
    """
    if scores_topic is None and not offline:
        raise SettingsError("nothing to judge: give --scores-topic, --offline or both")
    settings = start()
    transactions = read_transactions(data, column_map(columns), verdicts=True)
    starts = [s for s in _STARTS[folds] if kept_rows(transactions, s).any()]
    if not starts:
        raise SettingsError(f"{data} has no transaction in the {folds} weeks of the protocol")
    streamed = own = None
    result: dict[str, Any] = {}
    if scores_topic is not None:
        streamed = asyncio.run(_streamed(settings, scores_topic, transactions))
        result = {"source": "streamed", **_judge(transactions, streamed, starts)}
        _show(f"streamed, topic {scores_topic}", result)
    if offline:
        own = _offline(settings, transactions)
        judged = _judge(transactions, own, starts)
        _show("offline", judged)
        result = {**result, "offline": judged} if result else {"source": "offline", **judged}
    result["max_abs_diff"] = None
    if streamed is not None and own is not None:
        scored = np.isfinite(streamed)
        result["compared"] = int(scored.sum())
        result["max_abs_diff"] = float(np.abs(streamed - own)[scored].max(initial=0.0))
        print(f"largest difference {result['max_abs_diff']:.2e} over {result['compared']} scores")
    write_report(report, result)


def _judge(transactions: Transactions, scores: Scores, starts: list[str]) -> dict[str, Any]:
    """Metrics of each fold and their mean.

    Raises:
        TocsinError: a transaction that counts has no score.
    """
    folds = []
    for begin in starts:
        missing = int(np.isnan(scores[kept_rows(transactions, begin)]).sum())
        if missing:
            raise TocsinError(
                f"{missing} transactions of the fold of {begin} have no score: replay the whole "
                "file with fraud.publish_scores on, and wait for the worker to finish"
            )
        folds.append({"start": begin, **fold_metrics(transactions, begin, scores)})
    mean = {name: float(np.mean([fold[name] for fold in folds])) for name in _METRICS}
    return {"folds": folds, "mean": mean}


def _show(title: str, judged: dict[str, Any]) -> None:
    table = Table("fold", *_METRICS, title=title, title_justify="left", box=None, pad_edge=False)
    for row in (*judged["folds"], {"start": "mean", **judged["mean"]}):
        table.add_row(row["start"], *(f"{row[name]:.4f}" for name in _METRICS))
    Console(highlight=False).print(table)


def _offline(settings: Settings, transactions: Transactions) -> Scores:
    """Score the whole history with the network that the settings name."""
    from models.fraud.dataset import build, offline_scores  # noqa: PLC0415  imports torch
    from models.fraud.network import load_fraud  # noqa: PLC0415

    network, _ = load_fraud(settings.fraud.model)
    return offline_scores(network, build(transactions, _LABEL_DELAY_DAYS))


async def _streamed(settings: Settings, topic: str, transactions: Transactions) -> Scores:
    """Join all scores of `topic` by tx_id; nan where there is none, the last where several.

    Raises:
        TocsinError: a record is not a score.
    """
    rows = {str(tx_id): row for row, tx_id in enumerate(transactions.tx_id.tolist())}
    scores = np.full(len(transactions), np.nan, np.float32)
    done = 0
    with progress_bar("scores", len(transactions)) as advance:
        async for records in read_topic(settings.kafka, topic, from_beginning=True, follow=False):
            for record in records:
                try:
                    score = decode_score(record.value or b"")
                except DECODE_ERRORS as error:
                    where = f"{topic}:{record.partition}:{record.offset}"
                    raise TocsinError(f"{where} is not a score: {error}") from None
                row = rows.get(score.tx_id)
                if row is not None:
                    scores[row] = score.score
            done += len(records)
            advance(done, "")
    return scores


app.command()(tracker)
app.command()(video)

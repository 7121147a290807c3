"""`tocsin evaluate tracker`: how well objects keep their ids, on recorded sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.vision.mot import GIVEN_DETECTIONS, read_sequences
from models.vision.tracking_evaluation import evaluate_tracker
from streams.cli.options import Report, write_report
from streams.cli.start import start

_SHARES = ("mota", "idf1", "hota")
_COUNTS = ("switches", "false_positives", "misses")


def tracker(
    *,
    mot: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of sequences in MOTChallenge layout.")
    ],
    detections: Annotated[
        str, typer.Option(metavar="NAME", help="File with a sequence's detections, in its folder.")
    ] = GIVEN_DETECTIONS,
    report: Report = None,
) -> None:
    """Print MOTA, IDF1, HOTA and id switches of the tracker on given detections.

    Frames go in one by one, as they would live; no images are needed.
    """
    start()
    each, overall = evaluate_tracker(read_sequences(mot, detections))
    sequences = {name: counts.figures() for name, counts in each.items()}
    result = overall.figures()
    table = Table("sequence", *_SHARES, *_COUNTS, box=None, pad_edge=False)
    for name, figures in (*sequences.items(), ("overall", result)):
        shares = [f"{figures[share]:.4f}" for share in _SHARES]
        table.add_row(name, *shares, *(str(figures[count]) for count in _COUNTS))
    Console(highlight=False).print(table)
    write_report(report, {**result, "sequences": sequences})

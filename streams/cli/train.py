"""`tocsin train`: weights from transactions, and from pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from models.fraud.simulator import simulate
from models.fraud.transactions import Transactions
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.cli.train_detector import detector
from streams.producers.files import column_map, read_transactions
from streams.producers.transactions import world

app = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True, help="Train a network.")


@app.callback()
def group() -> None:
    """Train a network."""


app.command()(detector)


@app.command()
def fraud(
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="STEM", help="Writes STEM.safetensors and its manifest STEM.json."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Parquet or CSV to learn from, not the simulator."),
    ] = None,
    columns: Annotated[
        str, typer.Option("--map", metavar="FIELD=COLUMN,...", help="Columns of --data.")
    ] = "",
    days: Annotated[int, typer.Option(min=1, help="Days to simulate.")] = 150,
    customers: Annotated[int, typer.Option(min=1, help="Simulated cards.")] = 5000,
    terminals: Annotated[int, typer.Option(min=1, help="Simulated terminals.")] = 10_000,
    begin: Annotated[
        str, typer.Option("--start", metavar="DATE", help="First simulated day.")
    ] = "2018-04-01",
    seed: Annotated[int, typer.Option(min=0, help="Of the simulator and the training.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 4,
    version: Annotated[str, typer.Option(help="Version that the manifest bears.")] = "1",
) -> None:
    """Train the fraud network and print how well it does on the weeks held out."""
    from models.checkpoint import save  # noqa: PLC0415  torch takes seconds to import
    from models.fraud.training import TrainingConfig, train  # noqa: PLC0415

    start()
    # 1. What to learn from.
    if data is None:
        simulated = world(customers=customers, terminals=terminals, start=begin, seed=seed)
        transactions: Transactions = simulate(simulated, days)
        described: dict[str, str | int | float] = {"source": "simulator", **asdict(simulated)}
    else:
        transactions = read_transactions(data, column_map(columns), verdicts=True)
        described = {"source": data.name}
    # 2. Learn.
    config = TrainingConfig(version=version, seed=seed, epochs=epochs, data=described)
    with progress_bar("training", None) as advance:
        network, manifest = train(
            transactions,
            config,
            lambda step, total, loss: advance(step, f"of {total}, loss {loss:.4f}"),
        )
    # 3. Keep.
    stem = out.with_suffix("") if out.suffix in {".json", ".safetensors"} else out
    sealed = save(stem, network, manifest)
    print(f"{stem}.json version {sealed.version} sha256 {sealed.sha256}")
    for name, value in {"threshold": sealed.threshold, **sealed.metrics}.items():
        print(f"{name} {value:.4f}")

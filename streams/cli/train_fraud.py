"""`tocsin train fraud`: weights from a simulator, a file, or what Kafka retains."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import numpy.typing as npt
import typer

from models.fraud.simulator import simulate
from models.fraud.transactions import Transactions
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.errors import SettingsError, TocsinError
from streams.history import read_history
from streams.producers.files import column_map, read_transactions
from streams.producers.transactions import world
from streams.settings import Settings

if TYPE_CHECKING:  # torch takes seconds to import
    from models.checkpoint import Manifest
    from models.fraud.network import FraudNetwork

Served = tuple["FraudNetwork", "Manifest"]
Times = npt.NDArray[np.int64]
Description = dict[str, str | int | float]

_CONTEST_DAYS = 7.0  # champion and challenger meet on the latest labelled week


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
    from_topic: Annotated[
        bool,
        typer.Option(
            "--from-topic", help="Learn from what Kafka retains of transactions and labels."
        ),
    ] = False,
    genuine_after: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS",
            min=0,
            help="With --from-topic: without a verdict for so long is genuine (default: unknown).",
        ),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", min=1, help="Days held out (default 28; 7 with --from-topic)."
        ),
    ] = None,
    warmup: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="First days, not learned from.")
    ] = 30.0,
    anyway: Annotated[
        bool,
        typer.Option("--anyway", help="With --from-topic: write it even if the served one wins."),
    ] = False,
    days: Annotated[int, typer.Option(min=1, help="Days to simulate.")] = 150,
    customers: Annotated[int, typer.Option(min=1, help="Simulated cards.")] = 5000,
    terminals: Annotated[int, typer.Option(min=1, help="Simulated terminals.")] = 10_000,
    begin: Annotated[
        str, typer.Option("--start", metavar="DATE", help="First simulated day.")
    ] = "2018-04-01",
    seed: Annotated[int, typer.Option(min=0, help="Of the simulator and the training.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 4,
    version: Annotated[str, typer.Option(help="Version that the manifest bears.")] = "2",
) -> None:
    """Train the fraud network and print how well it does on the days held out.

    An interrupted training leaves STEM.checkpoint behind; the same command goes on from there.

    With --from-topic the new network challenges the one that the settings serve, on the latest
    labelled week, which neither has learned from here; nothing is written unless it wins.
    """
    from models.checkpoint import save  # noqa: PLC0415  torch takes seconds to import
    from models.fraud.network import load_fraud  # noqa: PLC0415
    from models.fraud.training import FitConfig, TrainingConfig, train  # noqa: PLC0415

    if from_topic and data is not None:
        raise SettingsError("--from-topic and --data are two sources: give one of them")
    settings = start()
    # 1. What to learn from.
    labelled_at: Times | None = None
    champion: Served | None = None
    if from_topic:
        champion = load_fraud(settings.fraud.model)  # before an hour's work, not after it
        transactions, labelled_at, described = _retained(settings, genuine_after)
    elif data is not None:
        transactions = read_transactions(data, column_map(columns), verdicts=True)
        described = {"source": data.name}
    else:
        simulated = world(customers=customers, terminals=terminals, start=begin, seed=seed)
        transactions = simulate(simulated, days)
        described = {"source": "simulator", **asdict(simulated)}
    # 2. Learn.
    stem = out.with_suffix("") if out.suffix in {".json", ".safetensors"} else out
    stem.parent.mkdir(parents=True, exist_ok=True)
    config = TrainingConfig(
        version=version,
        fit=FitConfig(seed=seed, epochs=epochs),
        warmup_days=warmup,
        holdout_days=holdout or (_CONTEST_DAYS if from_topic else 28.0),
        data=described,
    )
    with progress_bar("training", None) as advance:
        network, manifest = train(
            transactions,
            config,
            labelled_at=labelled_at,
            checkpoint=stem.with_name(stem.name + ".checkpoint"),
            on_progress=lambda step, total, loss: advance(step, f"of {total}, loss {loss:.4f}"),
        )
    # 3. Compare with what is served, where it was trained to take its place.
    if champion is not None and labelled_at is not None:
        manifest = _contest(champion, network, manifest, transactions, labelled_at)
        if not manifest.metrics["challenger_ap"] > manifest.metrics["champion_ap"] and not anyway:
            raise TocsinError(
                f"the served network is as good on the latest labelled week, so {stem.name} was "
                "not written: wait for more labels, or give --anyway"
            )
    # 4. Keep.
    sealed = save(stem, network, manifest)
    print(f"{stem}.json version {sealed.version} sha256 {sealed.sha256}")
    for name, value in {"threshold": sealed.threshold, **sealed.metrics}.items():
        print(f"{name} {value:.4f}")


def _retained(
    settings: Settings, genuine_after: float | None
) -> tuple[Transactions, Times, Description]:
    """What Kafka retains, up to the newest labelled transaction: what came later has no truth."""
    with progress_bar("reading", None) as advance:
        history = asyncio.run(
            read_history(
                settings,
                genuine_after_days=genuine_after,
                on_progress=lambda done, labels: advance(done, f"{labels} labels"),
            )
        )
    if not history.known.any():
        raise TocsinError("no transaction has a label: send verdicts first, or --genuine-after")
    end = int(np.flatnonzero(history.known)[-1]) + 1
    described: Description = {
        "source": "kafka",
        "labelled": int(history.known.sum()),
        "orphans": history.orphans,
        "rejected": history.rejected,
    }
    return history.transactions.take(slice(0, end)), history.labelled_at[:end], described


def _contest(
    champion: Served,
    challenger: FraudNetwork,
    manifest: Manifest,
    transactions: Transactions,
    labelled_at: Times,
) -> Manifest:
    """Judge the served network and its challenger on the same week; print and note both.

    Raises:
        TocsinError: that week has not both outcomes.
    """
    from models.fraud.contenders import judge_contenders  # noqa: PLC0415

    network, served = champion
    figures = judge_contenders(
        {"champion": network, "challenger": challenger}, transactions, labelled_at, _CONTEST_DAYS
    )
    print(f"champion: version {served.version} sha256 {served.sha256}")
    for name, value in figures.items():
        print(f"{name} {value:.4f}")
    return msgspec.structs.replace(manifest, metrics={**manifest.metrics, **figures})

"""`tocsin train fraud --from-topic`: the challenger must win before anything is written."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from models.fraud.network import load_fraud
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from streams.admin import connect
from streams.cli.main import app
from streams.producers.kafka import KeyedProducer
from streams.producers.records import Labelling, label_records, transaction_records
from streams.settings import Settings
from streams.topics import topic_table
from tests.conftest import Stack
from tests.fakes.model import random_model

DAY_MS = 86_400_000
WORLD = SimulatorConfig(
    customers=100, terminals=400, radius=15.0, seed=5, compromised_terminals=1, compromised_cards=1
)
QUICK = ("--epochs", "6", "--warmup", "5")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, 60)


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Empty topics of this test's own, and settings that name them."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    monkeypatch.setenv("TOCSIN_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap)
    for name in ("transactions", "labels", "alerts", "scores"):
        monkeypatch.setenv(f"TOCSIN_TOPICS__{name.upper()}", f"{prefix}.{name}")
    settings = Settings()
    with connect(settings.kafka) as admin:
        admin.ensure(topic_table(settings))
    return settings


def send(settings: Settings, history: Transactions, *, labelled: int) -> None:
    """All transactions, and the verdicts on the first `labelled`, a week late."""

    async def play() -> None:
        async with KeyedProducer(settings.kafka) as producer:
            topics = settings.topics
            await producer.send_many(topics.transactions, transaction_records(history, "EUR"))
            known = history.take(slice(0, labelled))
            verdicts = label_records(known, Labelling(7 * DAY_MS, "case system"))
            await producer.send_many(topics.labels, verdicts)

    asyncio.run(play())


def train(out: Path, *options: str) -> Result:
    command = ["train", "fraud", "--from-topic", "--out", str(out), *QUICK, *options]
    return CliRunner().invoke(app, command, env={"COLUMNS": "300"})


def test_the_challenger_is_written_where_it_wins_and_only_there(
    settings: Settings, history: Transactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = int(len(history) * 0.9)
    send(settings, history, labelled=labelled)

    # 1. Against a network that detects nothing.
    monkeypatch.setenv("TOCSIN_FRAUD__MODEL", str(random_model(tmp_path, seed=1)))
    won = train(tmp_path / "challenger", "--version", "3")
    assert won.exit_code == 0, won.output
    assert "champion: version 1 sha256 " in won.stdout
    manifest = json.loads((tmp_path / "challenger.json").read_text())
    figures = manifest["metrics"]
    assert figures["challenger_ap"] > figures["champion_ap"] > 0
    assert f"challenger_ap {figures['challenger_ap']:.4f}" in won.stdout
    assert figures["judged"] > 0
    data = manifest["training"]["data"]
    assert (data["source"], data["labelled"]) == ("kafka", labelled)
    assert (data["orphans"], data["rejected"]) == (0, 0)
    # What came after the newest verdict has no truth, and is left out.
    assert manifest["training"]["transactions"] == labelled
    assert load_fraud(tmp_path / "challenger.json")[1].version == "3"

    # 2. Against itself, as it would be trained once more.
    monkeypatch.setenv("TOCSIN_FRAUD__MODEL", str(tmp_path / "challenger.json"))
    lost = train(tmp_path / "again")
    assert lost.exit_code == 1, lost.output
    assert "champion: version 3 " in lost.stdout
    assert "so again was not written" in lost.stderr
    assert "--anyway" in lost.stderr
    assert lost.stderr.rstrip("\n").count("\n") == 0
    assert not list(tmp_path.glob("again*"))

    # 3. Somebody knows better.
    anyway = train(tmp_path / "again", "--anyway")
    assert anyway.exit_code == 0, anyway.output
    figures = json.loads((tmp_path / "again.json").read_text())["metrics"]
    assert figures["challenger_ap"] == figures["champion_ap"]


def test_without_a_verdict_nothing_is_learned(
    settings: Settings, history: Transactions, tmp_path: Path
) -> None:
    send(settings, history.take(slice(0, 500)), labelled=0)
    refused = train(tmp_path / "none")
    assert refused.exit_code == 1
    assert refused.stderr == (
        "error: no transaction has a label: send verdicts first, or --genuine-after\n"
    )
    assert not list(tmp_path.iterdir())

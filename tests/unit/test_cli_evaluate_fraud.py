"""`tocsin evaluate fraud` on a small file: tables, reports, tuning, refusals."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from models.checkpoint import Manifest
from models.fraud import baselines, comparison, tuning
from models.fraud.baselines import Baseline
from models.fraud.folds import FoldScores
from models.fraud.network import FraudNetwork, FraudNetworkConfig, load_fraud
from models.fraud.simulator import SimulatorConfig, simulate
from models.fraud.transactions import Transactions
from models.fraud.tuning import Tuned, keep_choice
from streams.bench.servers import Servers
from streams.cli import evaluate_fraud, fraud_contest, fraud_streamed
from streams.cli.main import app
from streams.producers.files import HANDBOOK
from streams.settings import Settings
from tests.fakes.model import bare_manifest

# Reaches from the first validation fold to the end of the first test fold.
WORLD = SimulatorConfig(customers=70, terminals=100, radius=15.0, seed=8, start="2018-05-01")
DAYS = 107
QUICK = (
    Baseline("logistic_book", "logistic", "book", {m: ({"C": (0.1, 1.0)},) for m in ("A", "B")}),
    Baseline(
        "lightgbm",
        "lightgbm",
        "ours",
        {m: ({"n_estimators": (5,), "num_leaves": (4,)},) for m in ("A", "B")},
    ),
)


class RightNetworks:
    """Know every fraud without any training."""

    def __init__(
        self, history: Transactions, start: str, mode: str, folder: Path | None = None
    ) -> None:
        del start, folder
        self._history, self._mode = history, mode

    def scores(self, seed: int, on_progress: Any = None) -> FoldScores:
        del on_progress
        noise = np.random.default_rng(seed).random(len(self._history)).astype(np.float32)
        network = FraudNetwork(FraudNetworkConfig(hidden=2, head=4))
        scores = (self._history.is_fraud + noise) / np.float32(2)
        manifest = bare_manifest(network.config, str(seed), f"{self._mode}{seed}")
        manifest.training["mode"] = self._mode
        return FoldScores(scores, noise, network, manifest)


@pytest.fixture(scope="module")
def history() -> Transactions:
    return simulate(WORLD, DAYS)


def write(path: Path, history: Transactions) -> Path:
    columns = [getattr(history, field).tolist() for field in HANDBOOK]
    columns[-2] = [int(one) for one in columns[-2]]
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([",".join(HANDBOOK.values()), *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def files(history: Transactions, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files that follow each other in time."""
    folder, half = tmp_path_factory.mktemp("data"), len(history) // 2
    return [
        write(folder / "first.csv", history.take(slice(0, half))),
        write(folder / "second.csv", history.take(slice(half, None))),
    ]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this machine, few baselines, parameters kept elsewhere, and no training."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(fraud_contest, "BASELINES", QUICK)
    kept = tmp_path / "tuned.json"
    monkeypatch.setattr(fraud_contest, "TUNED", kept)
    monkeypatch.setattr(comparison, "FoldNetworks", RightNetworks)


def evaluate(files: list[Path], *options: str) -> Result:
    given = [option for file in files for option in ("--data", str(file))]
    return CliRunner().invoke(app, ["evaluate", "fraud", *given, *options])


def test_parameters_are_found_once_and_reused(files: list[Path], tmp_path: Path) -> None:
    missing = evaluate(files, "--mode", "A")
    assert missing.exit_code == 1
    assert "run --tune" in missing.stderr

    tuned = evaluate(files, "--mode", "A", "--tune")
    assert tuned.exit_code == 0, tuned.output
    assert "mode A, lightgbm: n_estimators=5, num_leaves=4 (AUC 0." in tuned.stdout
    choices = tuning.read_choices(tmp_path / "tuned.json")
    assert len(choices["A"]["logistic_book"].trials) == 2
    assert set(choices) == {"A"}

    report = tmp_path / "report.json"
    done = evaluate(
        files, "--mode", "A", "--seeds", "2", "--oracle", "--train-starts",
        "2018-07-25,2018-07-18", "--report", str(report),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert (found["mode"], found["seeds"]) == ("A", 2)
    assert found["train_starts"] == ["2018-07-25", "2018-07-18"]
    assert [len(fold["seeds"]) for fold in found["folds"]] == [2, 2]
    assert list(found["baselines"]) == ["logistic_book", "lightgbm"]
    assert found["baselines"]["lightgbm"]["params"] == {"n_estimators": 5, "num_leaves": 4}
    assert found["artifact"]["sha256"] == load_fraud()[1].sha256
    assert [one["sha256"] for one in found["data"]] == [
        hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    ]
    lines = done.stdout.splitlines()
    for name in ("network, seeds: 2", "logistic_book", "lightgbm", "ceiling"):
        assert any(line.startswith(name) for line in lines), done.stdout


def test_networks_lie_beside_the_report_until_it_is_whole(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, folder = tmp_path / "r.json", tmp_path / "r.json.networks"

    class Keeping(RightNetworks):
        """Keep a file a network; the third is interrupted."""

        def __init__(
            self, history: Transactions, start: str, mode: str, folder: Path | None = None
        ) -> None:
            super().__init__(history, start, mode)
            assert folder is not None
            self._stem = folder / f"{start}-{mode}"

        def scores(self, seed: int, on_progress: Any = None) -> FoldScores:
            if len(list(folder.iterdir())) == 2 and is_interrupted:
                raise KeyboardInterrupt
            self._stem.with_name(f"{self._stem.name}-{seed}.json").touch()
            return super().scores(seed, on_progress)

    monkeypatch.setattr(comparison, "FoldNetworks", Keeping)
    options = ("--seeds", "2", "--no-baselines", "--report", str(report))
    is_interrupted = True
    assert evaluate(files, *options).exit_code == 130
    assert {path.name for path in folder.iterdir()} == {
        "2018-08-01-B-0.json",
        "2018-08-01-B-1.json",
    }
    assert not report.exists()
    is_interrupted = False
    (folder / "mine").touch()
    assert evaluate(files, *options).exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["mine"]  # nothing of others is deleted
    (folder / "mine").unlink()
    assert evaluate(files, *options).exit_code == 0
    assert report.exists()
    assert not folder.exists()


def test_a_run_that_trained_nothing_leaves_no_folder(files: list[Path], tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    assert evaluate(files, "--report", str(report)).exit_code == 1  # was never tuned
    assert list(tmp_path.iterdir()) == []
    report.with_name("r.json.networks").touch()
    refused = evaluate(files, "--no-baselines", "--report", str(report))
    assert refused.exit_code == 2
    assert "cannot keep networks in" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_the_ceiling_can_be_had_alone(files: list[Path], tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = evaluate(files, "--seeds", "0", "--no-baselines", "--oracle", "--report", str(report))
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert (found["baselines"], found["mean"]) == ({}, {})
    assert found["train_starts"] == ["2018-08-01", "2018-07-25"]  # what the data covers of four
    assert 0.3 < found["ceiling"]["ap"] < 1.0


def test_the_served_network_is_judged_without_any_training(
    files: list[Path], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    done = evaluate(
        files, "--offline", "--train-starts", "validation", "--oracle", "--report", str(report)
    )
    assert done.exit_code == 0, done.output
    found = json.loads(report.read_text())
    assert found["source"] == "offline"
    assert len(found["folds"]) == 4
    assert set(found["mean"]) == {"auc", "ap", "cp100"}
    assert found["max_abs_diff"] is None
    assert len(found["ceiling"]["folds"]) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train-starts", "2018-13-01"], "'2018-13-01' is no first day of a fold"),
        (["--train-starts", "2019-01-01"], "choose other --train-starts"),
        (["--train-starts", ","], "names no fold"),
        (["--only", "svm"], "--only svm: choose from logistic_book, lightgbm"),
        (["--train-starts", "2018-07-25,2018-07-18, 2018-07-25"], "names 2018-07-25 twice"),
        (["--report", "nowhere/report.json"], "nowhere is no folder"),
        (["--report", "."], "it is a folder, name a file in it"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    files: list[Path], options: list[str], message: str
) -> None:
    for baseline in QUICK:
        found = Tuned(
            params=baseline.candidates("B")[0], starts=[], inputs=0, genuine_share=1.0, trials=[]
        )
        keep_choice("B", baseline.name, found, fraud_contest.TUNED)
    result = evaluate(files, *options, "--seeds", "1")
    assert result.exit_code in {1, 2}
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--tune --offline", "--tune finds parameters and ends: give it without --offline"),
        ("--tune --seeds 1 --oracle", "give it without --seeds and --oracle"),
        ("--tune --report r.json", "give it without --report"),
        ("--tune --train-starts test", "give it without --train-starts"),
        ("--tune --no-baselines", "--tune finds parameters of baselines: give it without --no-b"),
        ("--tune --streamed", "--streamed needs networks of folds: give it without --tune"),
        ("--offline --mode A", "--offline judges scores that exist and trains nothing: give it"),
        ("--offline --seeds 3", "give it without --seeds"),
        ("--offline --only xgboost", "give it without --only"),
        ("--offline --no-baselines", "give it without --no-baselines"),
        ("--offline --streamed", "--streamed needs networks of folds: give it without --offline"),
        ("--scores-topic scores --mode B", "--scores-topic judges scores that exist"),
        ("--only lightgbm --no-baselines", "--only chooses among baselines: give it without"),
        ("--seeds 0 --no-baselines", "leaves nothing to do: give --oracle too"),
        ("--seeds 0 --streamed", "--streamed needs networks of folds: give it without --seeds 0"),
        ("--bootstrap localhost:1", "--bootstrap without --streamed: give both"),
    ],
)
def test_options_that_contradict_each_other_are_refused_before_anything_is_read(
    options: str, message: str
) -> None:
    result = evaluate([Path("nowhere.csv")], *options.split())
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_files_must_follow_each_other_in_time(files: list[Path]) -> None:
    result = evaluate(files[::-1], "--no-baselines")
    assert result.exit_code == 2
    assert "first.csv begins before the file ahead of it ends" in result.stderr


def test_missing_libraries_are_named_before_anything_is_read(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    result = evaluate([files[0].with_name("nowhere.csv")])
    assert result.exit_code == 1
    assert "pip install 'tocsin[eval]'" in result.stderr
    assert evaluate(files, "--no-baselines", "--seeds", "1").exit_code == 0


def test_servers_that_are_not_there_are_missed_before_anything_is_trained(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "FoldNetworks", None)  # whoever trains fails in another way
    refused = evaluate(files, "--streamed", "--no-baselines")  # no Kafka in this folder
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: ")
    assert "java" in refused.stderr or "make kafka" in refused.stderr
    assert refused.stderr.rstrip("\n").count("\n") == 0


def test_each_fold_is_streamed_with_its_own_network_and_manifest(
    files: list[Path], history: Transactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed: dict[str, Manifest] = {}

    def stream(
        settings: Settings, there: Servers, sent: Transactions, models: dict[str, Path], **_: Any
    ) -> dict[str, Any]:
        assert there == Servers("kafka:1", "redis://redis")
        streamed.update({start: load_fraud(path)[1] for start, path in models.items()})
        said = RightNetworks(history, "", "B").scores(0).scores[: len(sent)]
        return {start: said + np.float32(1e-3) for start in models}

    monkeypatch.setattr(fraud_streamed, "streamed_scores", stream)
    report = tmp_path / "r.json"
    done = evaluate(
        files, "--streamed", "--bootstrap", "kafka:1", "--redis-url", "redis://redis",
        "--no-baselines", "--seeds", "2", "--report", str(report),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert list(streamed) == ["2018-08-01", "2018-07-25"]
    assert {manifest.training["mode"] for manifest in streamed.values()} == {"B"}
    found = json.loads(report.read_text())["streamed"]
    for row in found["folds"]:
        assert row["max_abs_diff"] == pytest.approx(1e-3, rel=1e-3)
        assert row["offline"] == {name: row[name] for name in ("auc", "ap", "cp100")}


def test_one_baseline_can_be_tuned_alone(files: list[Path], tmp_path: Path) -> None:
    assert evaluate(files, "--tune", "--only", "logistic_book").exit_code == 0
    assert set(tuning.read_choices(tmp_path / "tuned.json")["B"]) == {"logistic_book"}


def test_the_names_of_the_report_are_fixed() -> None:
    names = {baseline.name: baseline.inputs for baseline in baselines.BASELINES}
    assert names["xgboost"] == names["lightgbm"] == "ours"
    assert names["logistic_book"] == names["random_forest_book"] == names["xgboost_book"] == "book"
    assert evaluate_fraud.TEST_STARTS[0] == "2018-08-15"

"""`tocsin report fraud`: what an evaluation found, in a folder that people can read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from models.fraud import comparison
from models.fraud.card import model_card
from models.fraud.network import load_fraud
from models.fraud.simulator import simulate
from models.fraud.tuning import TUNED, read_choices
from streams.cli import fraud_contest
from streams.cli.main import app
from tests.fakes.model import random_model
from tests.unit.test_cli_evaluate_fraud import (
    DAYS,
    QUICK,
    WORLD,
    RightNetworks,
    evaluate,
    write,
)

pytest.importorskip("matplotlib")

PLOTS = {"calibration.svg", "folds.svg", "learning-curve.svg"}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What an evaluation wrote in each mode, and of the served network."""
    folder = tmp_path_factory.mktemp("evaluated")
    data = [write(folder / "history.csv", simulate(WORLD, DAYS))]
    written = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
            patch.delenv(name)
        patch.setattr(fraud_contest, "BASELINES", QUICK)
        patch.setattr(fraud_contest, "TUNED", folder / "tuned.json")
        patch.setattr(comparison, "FoldNetworks", RightNetworks)
        for mode in ("B", "A"):
            assert evaluate(data, "--mode", mode, "--tune").exit_code == 0
            written[mode] = folder / f"{mode}.json"
            done = evaluate(
                data, "--mode", mode, "--seeds", "2", "--oracle", "--report", str(written[mode])
            )
            assert done.exit_code == 0, done.output
        written["offline"] = folder / "offline.json"
        assert evaluate(data, "--offline", "--report", str(written["offline"])).exit_code == 0
    return written


def report(*arguments: str | Path) -> Result:
    command = ["report", "fraud", *map(str, arguments)]
    return CliRunner().invoke(app, command, env={"COLUMNS": "300"})


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def text_of(found: dict[str, Any], tmp_path: Path) -> str:
    """The report on what an evaluation might have found."""
    path = tmp_path / "found.json"
    path.write_text(json.dumps(found))
    done = report(path, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    return (tmp_path / "report.md").read_text(encoding="utf-8")


def row_of(name: str, row: dict[str, Any]) -> str:
    cells = " | ".join(f"{row[key]:.4f} ± {row['std'][key]:.4f}" for key in ("auc", "ap", "cp100"))
    return f"| {name} | {cells} |"


def test_a_report_a_card_and_three_plots_are_written(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder"
    done = report(reports["B"], reports["A"], "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"wrote {out}/report.md, {out}/model-card.md and three plots\n"
    assert {path.name for path in out.iterdir()} == {"report.md", "model-card.md", *PLOTS}
    text = (out / "report.md").read_text(encoding="utf-8")
    for name in PLOTS:
        assert f"]({name})" in text
        root = ET.parse(out / name).getroot()
        assert root.tag == f"{SVG}svg"
        assert len(list(root.iter(f"{SVG}path"))) > 5


def test_the_tables_hold_the_figures_of_each_mode(reports: dict[str, Path], tmp_path: Path) -> None:
    assert report(reports["B"], reports["A"], "--out", tmp_path).exit_code == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    whole, week = text.split("## Mode A: learns from the training week alone")
    assert "## Mode B: all labels" in whole
    for part, mode in ((whole, "B"), (week, "A")):
        found = read(reports[mode])
        assert row_of("network, seeds: 2", {**found["mean"], "std": found["std"]}) in part
        for name in ("logistic_book", "lightgbm"):
            assert row_of(name, found["baselines"][name]) in part
        assert row_of("ceiling", found["ceiling"]) in part
    # The rest is of the first report.
    found = read(reports["B"])
    for name in ("novelty", "isolation_forest", "autoencoder"):
        assert row_of(name, found["unsupervised"][name]) in text
    calibration, delay = found["findings"]["calibration"], found["findings"]["delay"]
    assert f"Expected calibration error {calibration['ece']:.5f}, " in text
    assert f"Brier score {calibration['brier']:.5f}, " in text
    assert f"of {delay['terminals']} terminals" in text
    assert f"{delay['alerted']} raised" in text
    assert f"`sha256:{load_fraud()[1].sha256}`" in text
    assert "in service" not in text


def test_what_was_streamed_stands_beside_what_was_computed(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    found = read(reports["B"])
    there, here = {"auc": 0.91, "ap": 0.52, "cp100": 0.123}, {"auc": 0.92, "ap": 0.53, "cp100": 0.2}
    row = {"start": "2018-08-01", **there, "offline": here, "compared": 9, "max_abs_diff": 2.3e-7}
    found["streamed"] = {"folds": [row], "mean": there, "offline": here}
    path = tmp_path / "streamed.json"
    path.write_text(json.dumps(found))
    assert report(path, "--out", tmp_path).exit_code == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    cells = "0.9100, 0.5200, 0.1230 | 0.9200, 0.5300, 0.2000"
    assert f"| 2018-08-01 | {cells} | 2.3e-07 |" in text
    assert f"| mean | {cells} |  |" in text


def test_what_is_written_repeats_itself_byte_for_byte(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    written = []
    for out in (tmp_path / "one", tmp_path / "two"):
        assert report(reports["B"], "--out", out).exit_code == 0
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert set(written[0]) > PLOTS
    assert written[0] == written[1]
    assert not any(b"<dc:date>" in written[0][name] for name in PLOTS)


def test_the_served_network_stands_beside_those_of_the_folds(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    done = report(reports["offline"], reports["B"], reports["A"], "--out", tmp_path)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    section = text.split("## As shipped")[1].split("\n## ")[0]
    assert "on Tocsin's own simulator alone" in section
    found = read(reports["offline"])
    assert len(found["folds"]) == 2
    for fold in found["folds"]:
        cells = " | ".join(f"{fold[key]:.4f}" for key in ("auc", "ap", "cp100"))
        assert f"| {fold['start']} | {cells} |" in section
    assert row_of("mean", {**found["mean"], "std": found["std"]}) in section
    assert report(reports["B"], "--out", tmp_path).exit_code == 0
    assert "As shipped" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"artifact": {"version": "2", "sha256": "f" * 64}},
            "judges the network ffffffffffff where",
        ),
        ({"folds": []}, "judges other folds or data"),
        ({"data": []}, "judges other folds or data"),
        ({"artifact": {}}, "is no whole report"),
    ],
)
def test_a_judgement_of_another_network_or_of_other_folds_is_refused(
    reports: dict[str, Path], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**read(reports["offline"]), **change}))
    refused = report(reports["B"], path, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: {path} ")
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_served_network_is_judged_once_and_not_alone(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    alone = report(reports["offline"], "--out", tmp_path)
    assert alone.exit_code == 2
    assert "is of the served network alone" in alone.stderr
    twice = report(reports["B"], reports["offline"], reports["offline"], "--out", tmp_path)
    assert twice.exit_code == 2
    assert "is a second report of the served network" in twice.stderr
    assert list(tmp_path.iterdir()) == []


def test_names_are_explained_where_they_are_used(reports: dict[str, Path], tmp_path: Path) -> None:
    found = read(reports["B"])
    plain = text_of(found, tmp_path)
    for name in ("network", "logistic_book", "lightgbm", "ceiling"):
        assert f"\n| {name} | " in plain.split("## Mode B")[0]
    assert "\n| xgboost | " not in plain
    assert "histograms" not in plain
    assert f"The run that wrote this took {found['seconds']:,.0f} s." in plain
    # XGBoost by histograms, as it was tuned for mode B.
    tuned = read_choices(TUNED)["B"]["xgboost"]
    found["baselines"]["xgboost"] = {**found["baselines"]["lightgbm"], "params": tuned.params}
    text = text_of(found, tmp_path)
    assert "\n| xgboost | XGBoost on the network's 43 inputs: trees do not see" in text
    exact = max(one.ap for one in tuned.trials if one.params["tree_method"] == "exact")
    assert tuned.best.ap > exact
    assert (
        "`xgboost` works on histograms of 2,048 bins: on the validation folds the best of 3 such "
        f"configurations had AP {tuned.best.ap:.3f}, the best of 1 by the `exact` method "
        f"{exact:.3f}." in text
    )


def test_novelty_is_called_weaker_where_it_is(reports: dict[str, Path], tmp_path: Path) -> None:
    found = read(reports["B"])
    for ap, is_weaker in ((0.9, True), (0.0, False)):
        found["unsupervised"]["autoencoder"]["ap"] = ap
        assert ("novelty alone is weaker" in text_of(found, tmp_path)) == is_weaker


def test_what_a_desk_sees_and_how_soon(reports: dict[str, Path], tmp_path: Path) -> None:
    found = read(reports["B"])
    found["findings"]["budget"] = {"precision": 0.437, "recall": 0.764}
    found["findings"]["delay"]["within"] = {"1d": 0.125, "3d": 0.25, "7d": None}
    text = text_of(found, tmp_path)
    assert "43.7% of the alerts are frauds (precision), and 76.4% of the frauds" in text
    assert "that had alerted: 12.5% within 1 day, 25.0% within 3 days of the label;" in text


def test_the_choices_are_linked_where_they_lie_beside_the_report(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    assert "choices.md" not in text_of(read(reports["B"]), tmp_path)
    (tmp_path / "choices.md").touch()
    assert "(choices.md)" in text_of(read(reports["B"]), tmp_path)


@pytest.mark.parametrize(
    "missing",
    [
        "mode", "folds", "mean", "baselines", "findings.delay", "findings.calibration.ece",
        "findings.slices", "unsupervised", "train_starts", "seconds", "data",
    ],
)  # fmt: skip
def test_a_report_that_lacks_a_part_is_refused_in_one_line(
    reports: dict[str, Path], tmp_path: Path, missing: str
) -> None:
    found = read(reports["B"])
    *within, name = missing.split(".")
    part = found
    for step in within:
        part = part[step]
    del part[name]
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(found))
    refused = report(path, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"error: {path} is no whole report, ")
    assert f"`{name}`" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_card_names_patents_folds_and_slices(reports: dict[str, Path], tmp_path: Path) -> None:
    assert report(reports["B"], "--out", tmp_path).exit_code == 0
    card = (tmp_path / "model-card.md").read_text(encoding="utf-8")
    _, manifest = load_fraud()
    assert card.startswith(f"# Model card: {manifest.name} {manifest.version}\n")
    assert f"`sha256:{manifest.sha256}`" in card
    assert "patents of third parties" in card
    found = read(reports["B"])
    for fold in found["folds"]:
        assert f"| {fold['start']} | " in card
    assert "(mode B, seeds: 2), not the shipped weights" in card
    for name, parts in found["findings"]["slices"].items():
        assert f"| {name} | payments | frauds | AUC | " in card
        for part in parts:
            values = f"| {part['low']:.6g} to {part['high']:.6g} | {part['count']} | "
            assert values + f"{part['frauds']} | " in card
    assert f"| data.fingerprint | {manifest.training['data']['fingerprint']} |" in card  # type: ignore[index,call-overload]
    assert "curve" not in card


def test_what_has_no_meaning_is_a_dash(reports: dict[str, Path]) -> None:
    _, manifest = load_fraud()
    found = read(reports["B"])
    (part, *_) = found["findings"]["slices"]["amount"]
    for nothing in (float("nan"), None):
        part.update(low=1.0, high=2.5, count=7, frauds=0, auc=nothing, ap=nothing)
        part.update(alert_rate=0.25, precision=0.0, recall=nothing)
        card = model_card(manifest, found)
        assert "| 1 to 2.5 | 7 | 0 | - | - | 0.25 | 0 | - |" in card
        assert "nan" not in card
        assert "None" not in card


def test_a_report_holds_no_nan(reports: dict[str, Path]) -> None:
    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    parts = json.loads(reports["B"].read_text(), parse_constant=refuse)["findings"]["slices"]
    assert any(part["auc"] is None for part in (*parts["amount"], *parts["activity"]))


def test_a_card_can_be_had_of_the_manifest_alone() -> None:
    _, manifest = load_fraud()
    card = model_card(manifest)
    assert "By fold" not in card
    assert f"| auc | {manifest.metrics['auc']:.4f}".rstrip("0") in card
    assert "## Known limits" in card


def test_a_served_network_without_a_learning_curve_is_reported_too(
    reports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_FRAUD__MODEL", str(random_model(tmp_path)))
    out = tmp_path / "out"
    done = report(reports["B"], "--out", out)
    assert done.exit_code == 0, done.output
    ET.parse(out / "learning-curve.svg")
    assert (out / "model-card.md").read_text().startswith("# Model card: random 7\n")


def test_where_no_terminal_alerted_the_delay_is_never(
    reports: dict[str, Path], tmp_path: Path
) -> None:
    found = read(reports["B"])
    found["findings"]["delay"].update(alerted=0, median_days=None)
    path = tmp_path / "silent.json"
    path.write_text(json.dumps(found))
    assert report(path, "--out", tmp_path).exit_code == 0
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "0 raised an alert" in text
    assert "None" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"mode": "B", "findings": null}', "is no report on trained networks"),
        ("{}", "is no report on trained networks"),
        ("[]", "is no report on trained networks"),
        ("no JSON", "cannot read"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    refused = report(path, "--out", tmp_path / "out")
    assert refused.exit_code in {1, 2}
    assert message in refused.stderr
    assert str(path) in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_line(reports: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    refused = report(reports["B"], "--out", file)
    assert refused.exit_code in {1, 2}
    assert f"cannot write to {file}" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_without_matplotlib_it_says_what_to_install(
    reports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    refused = report(reports["B"], "--out", tmp_path)
    assert refused.exit_code == 1
    assert "plots need matplotlib: pip install 'tocsin[eval]'" in refused.stderr

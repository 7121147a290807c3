"""`tocsin train detector` and `tocsin evaluate detector --scenes`, without a broker."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from models.checkpoint import read_manifest
from streams.cli.main import app


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def tocsin(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def pictures(number: int) -> tuple[str, str, str, str]:
    """Options that name a small data set in COCO's format."""
    images, boxes = [], []
    for k in range(number):
        picture = np.full((64, 96, 3), 40 + k, np.uint8)
        picture[20:44, 30:66] = 200
        cv2.imwrite(f"{k}.png", picture)
        images.append({"id": k, "file_name": f"{k}.png", "width": 96, "height": 64})
        boxes.append({"image_id": k, "category_id": 1, "bbox": [30, 20, 36, 24]})
    categories = [{"id": 1, "name": "person"}]
    file = {"images": images, "annotations": boxes, "categories": categories}
    Path("boxes.json").write_text(json.dumps(file))
    return "--images", ".", "--annotations", "boxes.json"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "give --images and --annotations together, or --scenes"),
        (["--out", "x", "--images", "."], "give --images and --annotations together, or --scenes"),
        (["--out", "x", "--scenes", "8", "--images", "."], "together, or --scenes"),
        (["--out", "x", "--scenes", "8", "--size", "100x320"], "multiples of 32"),
        (["--out", "x", "--scenes", "8", "--size", "big"], "write HEIGHTxWIDTH"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_line(arguments: list[str], message: str) -> None:
    result = tocsin("train", "detector", *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1


def test_a_file_without_boxes_is_refused_in_one_line() -> None:
    Path("boxes.json").write_text('{"images": [], "annotations": [], "categories": []}')
    result = tocsin(
        "train", "detector", "--out", "x", "--images", ".", "--annotations", "boxes.json"
    )
    assert result.exit_code == 1
    assert "nothing to learn from" in result.output
    assert result.output.count("\n") == 1


def test_weights_are_trained_from_pictures_and_trained_on() -> None:
    data = pictures(8)
    common = ["--batch", "3", "--held-out", "0.25", "--size", "64x96"]
    result = tocsin(
        "train", "detector", "--out", "one", *data, *common, "--width", "0.125", "--half"
    )
    assert result.exit_code == 0, result.output
    assert "ap50 person" in result.output
    first = read_manifest(Path("one.json"))
    assert (first.classes, first.domain, first.config["size"]) == (["person"], "", [64, 96])
    assert not list(Path().glob("*.training.safetensors"))

    result = tocsin("train", "detector", "--out", "two", *data, *common, "--from", "one.json")
    assert result.exit_code == 0, result.output
    second = read_manifest(Path("two.json"))
    lineage = second.training["data"]["from"]
    assert (lineage["name"], lineage["sha256"]) == ("one.json", first.sha256)
    assert lineage["training"]["steps"] == first.training["steps"]
    assert second.config == first.config
    assert Path("one.safetensors").stat().st_size < 0.6 * Path("two.safetensors").stat().st_size


def test_weights_to_begin_from_that_are_not_there_are_named() -> None:
    data = pictures(8)
    for given, words in (
        ("nowhere.json", "nowhere.json is neither a file nor a name"),
        ("yolox-tiny", "tocsin models pull yolox-tiny"),
    ):
        result = tocsin("train", "detector", "--out", "x", *data, "--from", given)
        assert result.exit_code == 1
        assert words in result.output
        assert result.output.count("\n") == 1


def test_nothing_can_be_resumed_where_nothing_began() -> None:
    result = tocsin("train", "detector", "--out", "x", *pictures(12), "--resume")
    assert result.exit_code == 1
    assert "nothing to resume" in result.output


def test_the_street_weights_are_judged_on_scenes_and_refused_on_pictures() -> None:
    result = tocsin(
        "evaluate", "detector", "--weights", "street", "--scenes", "6", "--report", "report.json"
    )
    assert result.exit_code == 0, result.output
    report = json.loads(Path("report.json").read_text())
    assert report["images"] == 6
    assert report["classes"]["person"]["ap50"] > 0.8
    for options in (pictures(2), ()):
        result = tocsin("evaluate", "detector", "--weights", "street", *options)
        assert result.exit_code != 0
        assert result.output.count("\n") == 1
    assert "together, or --scenes" in result.output

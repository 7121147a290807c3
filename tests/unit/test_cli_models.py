"""`tocsin models` and `tocsin evaluate detector`: what a user sees, without the internet."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from streams.cli.main import app
from streams.cli.models import download
from streams.errors import TocsinError
from tests.fakes.onnx_files import write_onnx


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOCSIN_MODELS__CACHE_DIR", str(folder))
    return folder


def tocsin(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, status: int = 1) -> str:
    """The error of a command that failed: one line."""
    assert result.exit_code == status, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_list_shows_names_licences_and_what_is_here(cache: Path) -> None:
    lines = tocsin("models", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [
        f"yolox-{kind}" for kind in ("nano", "tiny", "s", "m", "l")
    ]
    assert all(line.split()[-3:] == ["Apache-2.0", "missing", "missing"] for line in lines[1:-1])
    assert lines[-1] == f"in {cache}"


def test_the_long_list_has_the_address_of_every_file_and_what_is_known_of_it() -> None:
    lines = tocsin("models", "list", "--long").stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("/yolox_nano.onnx"))
    assert lines[at].startswith("https://")
    assert lines[at + 1].startswith(
        "  sha256 c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc600"
    )
    unknown = next(i for i, line in enumerate(lines) if line.endswith("/yolox_l.pth"))
    assert lines[unknown + 1] == "  sha256 unknown: trusted on first use"


def test_a_copy_is_pulled_verified_and_found_again(tmp_path: Path, cache: Path) -> None:
    copy = write_onnx(tmp_path / "copy.onnx")
    pulled = tocsin("models", "pull", "yolox-s", "--from", copy, "--sha256", sha256(copy))
    assert pulled.stdout == f"{cache}/yolox_s.onnx: sha256 {sha256(copy)}\n"
    assert tocsin("models", "verify").stdout == f"{cache}/yolox_s.onnx: good\n"
    assert tocsin("models", "verify", "yolox-s").exit_code == 0
    (cache / "yolox_s.onnx").write_bytes(b"other")
    assert "yolox_s.onnx has changed since it was pulled" in refused(tocsin("models", "verify"))


def test_trust_on_first_use_is_said_plainly(tmp_path: Path) -> None:
    import torch

    from models.vision.network import PRESETS, Yolox

    checkpoint = tmp_path / "copy.pth"
    torch.save({"model": Yolox(PRESETS["tiny"]).state_dict()}, checkpoint)
    pull = ("models", "pull", "yolox-tiny", "--format", "pth", "--from", checkpoint)
    first = tocsin(*pull)
    assert sha256(checkpoint) in first.stdout
    assert "it is trusted on first use, and recorded" in first.stdout
    assert "recorded when it was first pulled" in tocsin(*pull).stdout


def test_nothing_to_verify_is_no_error_unless_it_was_named(cache: Path) -> None:
    assert tocsin("models", "verify").stdout == f"nothing is in {cache}\n"
    assert "tocsin models pull yolox-m" in refused(tocsin("models", "verify", "yolox-m"))


def test_a_wrong_checksum_is_refused(tmp_path: Path, cache: Path) -> None:
    copy = write_onnx(tmp_path / "copy.onnx")
    pull = ("models", "pull", "yolox-nano", "--from", copy)
    assert "none that is known of this file" in refused(tocsin(*pull))
    assert "not the one that you gave" in refused(tocsin(*pull, "--sha256", "0" * 64))
    assert "64 hexadecimal digits" in refused(tocsin(*pull, "--sha256", "xyz"), 2)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pull", "yolov5"), "no weights are called 'yolov5': yolox-nano, "),
        (("pull", "yolox-nano", "--from", "none.onnx"), "none.onnx cannot be read: No such file"),
        (("export", "none.pth", "--out", "x"), "none.pth is neither a file nor a name"),
        (("export", "yolox-nano", "--out", "x"), "tocsin models pull yolox-nano"),
    ],
)
def test_what_is_not_there_is_named(arguments: tuple[str, ...], message: str) -> None:
    result = tocsin("models", *arguments)
    assert message in refused(result, result.exit_code)
    assert result.exit_code in (1, 2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a web server with ``served/weights.bin``."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"w" * 600_000)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, directory=str(folder), **options)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  its own name
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_download_arrives_whole(server: str, tmp_path: Path) -> None:
    steps: list[int] = []
    download(f"{server}/weights.bin", tmp_path / "here.bin", lambda done, _: steps.append(done))
    assert (tmp_path / "here.bin").read_bytes() == b"w" * 600_000
    assert len(steps) > 1


def test_a_download_that_fails_says_how_to_do_without(server: str, tmp_path: Path) -> None:
    for url in (f"{server}/none.bin", "http://127.0.0.1:9/x"):
        with pytest.raises(TocsinError, match=rf"cannot download {url}: .*--from FILE"):
            download(url, tmp_path / "here.bin", lambda *_: None)


def dataset(folder: Path, *, width: int = 40) -> tuple[Path, Path]:
    """Two pictures, one of which has a cat, and their annotations."""
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.zeros((30, 40, 3), np.uint8))
    content = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": width, "height": 30},
            {"id": 2, "file_name": "b.png"},
        ],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "cow"}],
        "annotations": [
            {"image_id": 1, "category_id": 5, "bbox": [1, 2, 10, 20]},
            {"image_id": 2, "category_id": 6, "bbox": [1, 2, 10, 20]},
        ],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    return folder, path


def evaluate(weights: object, folder: Path, boxes: Path, *more: object) -> Result:
    return tocsin(
        "evaluate",
        "detector",
        "--weights",
        weights,
        "--images",
        folder,
        "--annotations",
        boxes,
        *more,
    )


def test_a_detector_is_judged_on_the_classes_that_both_sides_know(tmp_path: Path) -> None:
    weights = write_onnx(tmp_path / "w.onnx")
    report = tmp_path / "report.json"
    result = evaluate(weights, *dataset(tmp_path), "--report", report)
    assert result.exit_code == 0, result.output
    assert "the detector does not know them: cow" in result.stdout
    figures = json.loads(report.read_text())
    assert list(figures["classes"]) == ["cat"]
    assert 0 <= figures["ap"] <= figures["ap50"] <= 1
    assert (figures["images"], figures["weights"]) == (2, "w.onnx")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--classes", "cow"), "no class is called 'cow': the detector has cat, dog"),
        (("--classes", "cat, emu"), "no class is called 'emu': the annotations have cat, cow"),
        (("--backend", "onnx", "--device", "cuda"), "the onnx backend runs on the CPU"),
        (("--backend", "torch", "--device", "tpu"), "device 'tpu' is unknown"),
    ],
)
def test_what_cannot_be_judged_is_said_in_one_line(
    tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    result = evaluate(write_onnx(tmp_path / "w.onnx"), *dataset(tmp_path), *more)
    assert message in refused(result, result.exit_code)


def test_pictures_and_annotations_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = write_onnx(tmp_path / "w.onnx")
    folder, boxes = dataset(tmp_path, width=41)
    assert "is 40 x 30 and was annotated at 41 x 30" in refused(evaluate(weights, folder, boxes))
    dataset(tmp_path)
    (folder / "b.png").write_bytes(b"no picture")
    assert "b.png is no picture" in refused(evaluate(weights, folder, boxes))
    (folder / "b.png").unlink()
    assert "b.png is missing: --images" in refused(evaluate(weights, folder, boxes))
    assert "cannot be read" in refused(evaluate(weights, folder, tmp_path / "none.json"))


def test_a_detector_and_annotations_without_a_class_in_common_are_refused(tmp_path: Path) -> None:
    weights = write_onnx(tmp_path / "w.onnx", names=("emu", "gnu"))
    message = refused(evaluate(weights, *dataset(tmp_path)), 2)
    assert "the detector (emu, gnu) and the annotations (cat, cow)" in message

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ArtifactError
from models.vision.classes import COCO
from models.vision.onnx_core import OnnxCore
from tests.conftest import ROOT
from tests.fakes.onnx_files import PLACES, SIDE, write_onnx


def pixels(count: int) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, 3, SIDE, SIDE), np.uint8)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_any_number_of_frames_is_answered_frame_by_frame_alike(
    tmp_path: Path, batch: int | str
) -> None:
    core = OnnxCore(write_onnx(tmp_path / "any.onnx", batch=batch), threads=1)
    assert core.run(pixels(0)).shape == (0, PLACES, 7)
    together = core.run(pixels(5))
    assert together.shape == (5, PLACES, 7)
    alone = np.concatenate([core.run(one[None]) for one in pixels(5)])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_file_names_its_classes(tmp_path: Path) -> None:
    core = OnnxCore(write_onnx(tmp_path / "named.onnx"), threads=1)
    assert core.names == ("cat", "dog")
    assert core.size == (SIDE, SIDE)


def test_80_classes_without_names_are_those_of_coco(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "official.onnx", classes=80, names=None, batch=1)
    assert OnnxCore(path, threads=1).names == COCO


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": None}, "2 classes, of which 80 have names"),
        ({"names": ("cat",)}, "2 classes, of which 1 have names"),
        ({"names": "{"}, "metadata 'names' that is no list"),
        ({"channels": 1}, r"an input of shape \['batch', 1, 32, 32\]"),
        ({"batch": 2}, r"an input of shape \[2, 3, 32, 32\]"),
    ],
)
def test_another_network_is_refused_in_one_line(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    path = write_onnx(tmp_path / "other.onnx", **options)
    with pytest.raises(ArtifactError, match=message) as refused:
        OnnxCore(path, threads=1)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"<html>not found</html>", b"\0" * 4096])
def test_a_garbage_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"garbage\.onnx") as refused:
        OnnxCore(path)
    assert "\n" not in str(refused.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "cut.onnx")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ArtifactError, match=r"cut\.onnx is no ONNX file that can be run"):
        OnnxCore(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"none\.onnx is missing: tocsin models list"):
        OnnxCore(tmp_path / "none.onnx")


def test_a_detector_on_onnx_runtime_does_not_import_torch(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "any.onnx")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from models.vision.loading import load_detector\n"
        f"detector = load_detector(Path({str(path)!r}), device='cpu')\n"
        "print(detector.names, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('cat', 'dog') False"


def test_nothing_is_reported_to_the_makers_of_the_runtime(tmp_path: Path) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", "import models.vision.onnx_core"],
        env=environment,
        cwd=ROOT,
        check=True,
    )
    assert list(tmp_path.rglob("*")) == []  # it keeps an id and a queue of reports at home

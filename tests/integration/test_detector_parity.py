"""On pictures of COCO, torch, ONNX Runtime on our export and on the official file see the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.vision.annotations import read_annotations
from models.vision.detector import YoloxDetector
from models.vision.evaluation import (
    RANKED,
    average_precision,
    in_classes_of,
    matched_classes,
)
from models.vision.export import write
from models.vision.grid import places
from models.vision.loading import load_detector, load_network
from models.vision.preprocess import Frame

pytestmark = pytest.mark.slow

SCORED = 0.05
"""Places that score less are background: nobody looks at their boxes."""

REFERENCE_AP, REFERENCE_AP50 = 0.33641, 0.51695
"""Of an independent decoder (ONNX Runtime, numpy, OpenCV's suppression) on the same pictures."""


@pytest.fixture(scope="module")
def backends(
    yolox_nano: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, YoloxDetector]:
    stem = tmp_path_factory.mktemp("export") / "nano"
    network, names = load_network(yolox_nano)
    write(network, names, stem, source=yolox_nano)
    manifest = stem.with_suffix(".json")
    return {
        "official": load_detector(yolox_nano, device="cpu", threads=1, thresholds=RANKED),
        "exported": load_detector(manifest, device="cpu", threads=1, thresholds=RANKED),
        "torch": load_detector(manifest, device="cpu", backend="torch", thresholds=RANKED),
    }


@pytest.fixture(scope="module")
def pictures(coco: Path) -> list[Frame]:
    data = read_annotations(coco / "instances_train2017.json")
    read = [cv2.imread(str(coco / "train2017" / name)) for name in data.file_names]
    assert len(read) == 128
    assert all(picture is not None for picture in read)
    return read  # type: ignore[return-value]


def boxes_and_scores(
    outputs: npt.NDArray[np.float32], size: tuple[int, int], scale: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(B, A, 4) corners in pixels of the frame, (B, A, C) scores."""
    cells, strides = places(size)
    centre = (outputs[..., :2] + cells) * strides
    half = np.exp(outputs[..., 2:4]) * strides / 2
    corners = np.concatenate((centre - half, centre + half), 2) / scale[:, None, None]
    return corners, outputs[..., 4:5] * outputs[..., 5:]


@pytest.mark.parametrize("name", ["exported", "torch"])
def test_boxes_are_within_half_a_pixel_and_scores_within_a_thousandth(
    backends: dict[str, YoloxDetector], pictures: list[Frame], name: str
) -> None:
    official, other = backends["official"], backends[name]
    looked_at = 0
    for begin in range(0, len(pictures), 16):
        frames = official.pre(pictures[begin : begin + 16])
        boxes, scores = boxes_and_scores(official.core(frames), official.size, frames.scale)
        found, ranked = boxes_and_scores(other.core(frames), other.size, frames.scale)
        assert np.abs(ranked - scores).max() < 1e-3
        seen = scores.max(2) > SCORED  # (B, A)
        assert np.abs(found - boxes)[seen].max() < 0.5
        looked_at += int(seen.sum())
    assert looked_at > 1000


def test_average_precision_is_that_of_the_reference_decoder(
    backends: dict[str, YoloxDetector], pictures: list[Frame], coco: Path
) -> None:
    data = read_annotations(coco / "instances_train2017.json")
    subject = backends["exported"]
    matched = matched_classes(subject.names, data.names)
    assert len(matched) == 80
    found = [in_classes_of(matched, one) for one in subject.detect(pictures)]
    overall, _ = average_precision(data.truths, found, dict(enumerate(data.names)))
    assert overall.ap == pytest.approx(REFERENCE_AP, abs=1e-3)
    assert overall.ap50 == pytest.approx(REFERENCE_AP50, abs=1e-3)

"""The bundled weights for the simulated street camera."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.checkpoint import load, read_manifest
from models.errors import ArtifactError
from models.vision.annotations import Truth
from models.vision.boxes import Detections
from models.vision.domain import REAL, SIMULATED, STREET_WEIGHTS, require_domain
from models.vision.evaluation import RANKED, average_precision
from models.vision.examples import TEST_WORLDS, SceneExamples
from models.vision.export import write
from models.vision.loading import load_detector
from models.vision.network import Yolox, YoloxConfig

MANIFEST = read_manifest(STREET_WEIGHTS)


def test_the_manifest_vouches_for_the_weights_and_says_what_they_cannot_do() -> None:
    state, manifest = load(STREET_WEIGHTS)
    assert manifest == MANIFEST
    assert state
    assert manifest.domain == SIMULATED
    assert "real video" in manifest.limits
    assert manifest.classes == ["person", "vehicle"]
    assert manifest.training["data"]["source"] == "scenes"
    assert STREET_WEIGHTS.with_suffix(".safetensors").stat().st_size < 6 * 1024 * 1024


@pytest.mark.parametrize("source", ["rtsp://gate/1", "yard.mp4", REAL])
def test_they_are_refused_for_any_source_but_the_simulated_camera(source: str) -> None:
    require_domain(MANIFEST, SIMULATED)
    with pytest.raises(ArtifactError, match=r"street camera only.*tocsin models list") as refused:
        require_domain(MANIFEST, source)
    assert source in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_detector_that_is_not_told_its_source_does_not_load_them(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="street camera only"):
        load_detector(STREET_WEIGHTS)
    tensors = STREET_WEIGHTS.with_suffix(".safetensors")
    for path in (STREET_WEIGHTS, tensors):
        shutil.copy(path, tmp_path / path.name)
    with pytest.raises(ArtifactError, match="yard"):
        load_detector(tmp_path / tensors.name, source="yard.mp4")


@pytest.mark.slow
def test_converting_them_does_not_lift_the_limit(tmp_path: Path) -> None:
    small = Yolox(YoloxConfig(width=0.125, classes=2, size=(32, 32)))
    manifest = write(small, ("person", "vehicle"), tmp_path / "converted", source=STREET_WEIGHTS)
    assert (manifest.domain, manifest.limits) == (SIMULATED, MANIFEST.limits)
    for suffix in (".json", ".onnx"):
        with pytest.raises(ArtifactError, match="street camera only"):
            load_detector(tmp_path / f"converted{suffix}")

    alone = tmp_path / "elsewhere" / "yard.onnx"
    alone.parent.mkdir()
    shutil.copy(tmp_path / "converted.onnx", alone)
    with pytest.raises(ArtifactError, match="'converted' know the simulated street camera only"):
        load_detector(alone)
    assert load_detector(alone, device="cpu", source=SIMULATED).names == ("person", "vehicle")
    again = write(small, ("person", "vehicle"), tmp_path / "again", source=alone)
    assert (again.domain, again.limits) == (SIMULATED, MANIFEST.limits)


def test_weights_without_a_domain_look_at_anything() -> None:
    require_domain(read_manifest(STREET_WEIGHTS.with_name("fraud-v2.json")), "yard.mp4")


def test_they_find_people_and_vehicles_on_scenes_that_they_have_not_seen() -> None:
    detector = load_detector(STREET_WEIGHTS, device="cpu", thresholds=RANKED, source=SIMULATED)
    scenes = SceneExamples(40, first=TEST_WORLDS + 10_000)
    truths: list[Truth] = []
    found: list[Detections] = []
    for index in range(len(scenes)):
        example = scenes[index]
        truths.append(example.truth)
        found += detector.detect([example.image])
    _, each = average_precision(truths, found, dict(enumerate(detector.names)))
    assert each["person"].ap50 > 0.9
    assert each["vehicle"].ap50 > 0.9

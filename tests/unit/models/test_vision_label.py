"""An ONNX file of ours says of itself what it is fit for, wherever it is copied to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from models.errors import ArtifactError
from models.vision.domain import SIMULATED, claim_of, require_domain_of
from models.vision.loading import load_detector
from models.vision.network import NANO, Yolox
from models.vision.onnx_core import OnnxCore
from models.vision.weights import TABLE
from models.vision.weights_cache import WeightsCache, sha256_of
from streams.pipeline import network
from streams.pipeline.network import check_weights, load_network
from streams.settings import Settings, load_settings
from tests.fakes.onnx_files import write_onnx

SHA = "5" * 64


def manifest(path: Path, **fields: Any) -> None:
    path.with_suffix(".json").write_text(json.dumps({"name": "fake", "sha256": SHA, **fields}))


def settings_of(path: Path) -> Settings:
    return load_settings(vision={"model": str(path), "device": "cpu"})


def test_a_file_without_a_label_is_fit_for_anything(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "official.onnx")
    assert claim_of(path) is None
    assert OnnxCore(path, threads=1).label is None
    require_domain_of(path, "yard.mp4")


def test_a_domain_in_the_label_holds_without_any_manifest(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "copied.onnx", label={"name": "street", "domain": SIMULATED})
    for refuse in (
        lambda: require_domain_of(path, "yard.mp4"),
        lambda: load_detector(path, device="cpu", source="yard.mp4"),
        lambda: check_weights(settings_of(path), "yard.mp4"),
    ):
        with pytest.raises(ArtifactError, match=r"'street' know .* in yard\.mp4: ") as refused:
            refuse()
        assert "\n" not in str(refused.value)
    load_detector(path, device="cpu", source=SIMULATED)


def test_the_agent_refuses_real_cameras_and_names_the_model_by_its_label(tmp_path: Path) -> None:
    path = write_onnx(
        tmp_path / "copied.onnx",
        label={"name": "street", "version": "7", "domain": SIMULATED},
        weights_sha256=SHA,
    )
    _, model, refusal = load_network(settings_of(path), 1)
    assert (model.name, model.version) == ("street", "7")
    assert refusal is not None
    assert refusal.endswith("set vision.model")


def test_where_both_files_are_the_agent_takes_the_one_for_the_device_that_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = WeightsCache(tmp_path)
    for file in TABLE["yolox-nano"].files.values():
        written = write_onnx(tmp_path / "made.onnx")
        if file.format == "pth":
            torch.save({"model": Yolox(NANO).state_dict()}, written)
        cache.admit(file, written, given=sha256_of(written))
    monkeypatch.setattr(network, "suits_torch", lambda device, _: device == "auto")
    settings = load_settings(
        vision={"model": "yolox-nano", "device": "auto"}, models={"cache_dir": tmp_path}
    )
    assert network._weights(settings).suffix == ".pth"
    on_cpu = settings.model_copy(
        update={"vision": settings.vision.model_copy(update={"device": "cpu"})}
    )
    assert network._weights(on_cpu).suffix == ".onnx"


def test_what_cannot_be_read_into_torch_says_which_file_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # as in the images
    path = write_onnx(tmp_path / "official.onnx")
    with pytest.raises(ArtifactError, match=r"the package onnx: .* pull NAME --format pth$"):
        load_detector(path, device="cpu", backend="torch")


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("{", "its label is damaged"),
        ({"name": 3}, "its label is damaged"),
        ({"size": [64, 64]}, "its label says 64x64 pixels, its input 32x32"),
        ({"preprocessing": "RGB, 0 to 1"}, r"wants frames as 'RGB, 0 to 1' \(tocsin 0\), this"),
    ],
)
def test_a_label_that_is_not_the_networks_is_one_line_with_the_remedy(
    tmp_path: Path, label: dict[str, Any] | str, said: str
) -> None:
    path = write_onnx(tmp_path / "odd.onnx", label=label)
    for load in (claim_of, OnnxCore):
        with pytest.raises(ArtifactError, match=f"odd.onnx: .*{said}") as refused:
            load(path)
        assert str(refused.value).endswith("export it again with tocsin models export")
        assert "\n" not in str(refused.value)


def test_beside_the_manifest_of_other_weights_it_is_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "mixed.onnx", label={}, weights_sha256=SHA)
    manifest(path)
    assert claim_of(path) is not None
    manifest(path, sha256="6" * 64)
    with pytest.raises(ArtifactError, match=r"mixed\.json beside it describes: export") as refused:
        load_detector(path, device="cpu")
    assert "\n" not in str(refused.value)


def test_a_manifest_beside_a_file_without_a_label_counts(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "old.onnx")
    manifest(path, domain=SIMULATED)
    with pytest.raises(ArtifactError, match="street camera only"):
        require_domain_of(path, "yard.mp4")

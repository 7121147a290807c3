from __future__ import annotations

import os
import pickle
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from models import checkpoint
from models.errors import ArtifactError
from models.vision.classes import COCO
from models.vision.conversion import from_manifest, from_onnx, from_pth
from models.vision.detector import Thresholds
from models.vision.export import to_onnx, write
from models.vision.loading import load_detector, load_network
from models.vision.network import NANO, PRESETS, ServedYolox, Yolox
from tests.fakes.onnx_files import write_onnx
from tests.unit.models.test_vision_network import network

NAMES = ("cat", "dog", "cow")
MANIFEST = checkpoint.Manifest(
    name="small",
    version="1",
    features={},
    config=asdict(network().config),
    classes=list(NAMES),
    threshold=0.3,
    training={},
    metrics={},
    created="2026-01-01T00:00:00+00:00",
)


def same(one: Yolox, other: Yolox) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][name], states[1][name]) for name in states[0]
    )


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_our_own_files_bring_network_size_and_names(tmp_path: Path, suffix: str) -> None:
    made = network()
    checkpoint.save(tmp_path / "small", made, MANIFEST)
    loaded, names = from_manifest(tmp_path / f"small.{suffix}")
    assert loaded.config == made.config
    assert names == NAMES
    assert not loaded.training
    assert same(loaded, made)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"config": {}}, "describes no detector"),
        ({"config": {**asdict(NANO), "classes": 3, "size": [33, 32]}}, "describes no detector"),
        ({"config": {**asdict(NANO), "classes": 3, "width": [1]}}, "describes no detector"),
        ({"classes": ["cat"]}, "names 1 of its 3 classes"),
    ],
)
def test_a_manifest_of_something_else_is_refused(
    tmp_path: Path, parts: dict[str, Any], message: str
) -> None:
    checkpoint.save(tmp_path / "small", network(), msgspec.structs.replace(MANIFEST, **parts))
    with pytest.raises(ArtifactError, match=message) as refused:
        from_manifest(tmp_path / "small.json")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["nano", "tiny"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_an_official_checkpoint_is_recognised(tmp_path: Path, kind: str, *, wrapped: bool) -> None:
    made = network(PRESETS[kind])
    state = made.state_dict()
    path = tmp_path / "official.pth"
    torch.save({"model": state, "start_epoch": 300} if wrapped else state, path)
    loaded, names = load_network(path)
    assert loaded.config == PRESETS[kind]
    assert names == COCO
    assert same(loaded, made)


class Payload:
    """Runs a command when it is unpickled without care."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(
    tmp_path: Path, *, zipped: bool
) -> None:
    path, trace = tmp_path / "evil.pth", tmp_path / "was-run"
    content = {"model": network(NANO).state_dict(), "optimizer": Payload(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ArtifactError, match="no checkpoint that can be read safely") as refused:
        from_pth(path)
    assert "\n" not in str(refused.value)
    assert not trace.exists()


def changed(**parts: Any) -> dict[str, Any]:
    return {**network(NANO).state_dict(), **parts}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds no network"),
        ({"model": {"a": 1}}, "holds no network"),
        ({"model": {}}, "has 0 classes"),
        ({"model": network().state_dict()}, "has 3 classes and no names"),
        ({"model": changed(extra=torch.zeros(1))}, "no YOLOX network of a size"),
        (
            {"model": changed(**{"backbone.lateral_conv0.conv.weight": torch.zeros(1, 2, 1, 1)})},
            "no YOLOX network of a size",
        ),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    tmp_path: Path, content: Any, message: str
) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ArtifactError, match=message) as refused:
        from_pth(tmp_path / "other.pth")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"model": 1})[:-3], b"PK\3\4"])
def test_a_garbage_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "garbage.pth").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"garbage\.pth"):
        from_pth(tmp_path / "garbage.pth")


def test_an_onnx_file_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no YOLOX network of a size"):
        from_onnx(write_onnx(tmp_path / "other.onnx"))


def test_weights_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()
    for load in (load_network, load_detector):
        with pytest.raises(ArtifactError, match=r"weights are files in \.onnx, \.json"):
            load(tmp_path / "weights.bin")


def test_without_an_onnx_file_beside_it_our_network_runs_in_torch_unless_told_otherwise(
    tmp_path: Path,
) -> None:
    checkpoint.save(tmp_path / "small", network(), MANIFEST)
    detector = load_detector(tmp_path / "small.json", device="cpu")
    assert (detector.names, detector.size) == (NAMES, (64, 96))
    assert detector.detect([]) == []
    with pytest.raises(ArtifactError, match=r"has no \.onnx file beside it: tocsin models export"):
        load_detector(tmp_path / "small.json", backend="onnx")
    with pytest.raises(ArtifactError, match="the onnx backend runs on the CPU, not on cuda:0"):
        load_detector(tmp_path / "small.json", backend="onnx", device="cuda:0")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stem of the three files; the exporter takes its time."""
    stem = tmp_path_factory.mktemp("exported") / "small-v1.0"
    source = stem.parent / "source.bin"
    source.touch()
    write(network(), NAMES, stem, source=source, size=(96, 64))
    return stem


def beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def frames(count: int, height: int = 96, width: int = 64) -> list[Any]:
    return list(np.random.default_rng(2).integers(0, 256, (count, height, width, 3), np.uint8))


@pytest.mark.slow
def test_exported_files_detect_alike_in_batches_of_any_size(exported: Path) -> None:
    loose = Thresholds(confidence=0.0)
    onnx = load_detector(beside(exported, ".json"), device="cpu", thresholds=loose)
    torches = load_detector(
        beside(exported, ".onnx"), device="cpu", backend="torch", thresholds=loose
    )
    assert onnx.names == torches.names == NAMES
    assert onnx.size == torches.size == (96, 64)
    for count in (0, 1, 3):
        prepared = onnx.pre(frames(count))
        one, other = onnx.core(prepared), torches.core(prepared)
        assert one.shape == other.shape == (count, 96 * 64 // 64 * 21 // 16, 8)
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_an_exported_file_comes_back_as_a_network(exported: Path) -> None:
    loaded, names = from_onnx(beside(exported, ".onnx"))
    assert names == NAMES
    assert loaded.config == replace(NANO, classes=3, size=(96, 64))
    some = torch.rand(2, 3, 96, 64) * 255
    with torch.no_grad():
        expected = ServedYolox(from_manifest(beside(exported, ".json"))[0])(some)
        torch.testing.assert_close(ServedYolox(loaded)(some), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_an_onnx_file_that_was_not_made_from_the_weights_beside_it_is_refused(
    exported: Path, tmp_path: Path
) -> None:
    stem = tmp_path / "small"
    checkpoint.save(stem, network(seed=1), MANIFEST)
    beside(stem, ".onnx").write_bytes(beside(exported, ".onnx").read_bytes())
    with pytest.raises(ArtifactError, match=r"was not made from small\.safetensors as it is now"):
        load_detector(beside(stem, ".json"), device="cpu")


@pytest.mark.slow
def test_an_onnx_file_with_swapped_weights_is_refused(exported: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(beside(exported, ".onnx"))
    tensors = {one.name: one for one in model.graph.initializer}
    heads = [f"network.head.{kind}_convs.0.0.dconv.conv.weight" for kind in ("cls", "reg")]
    one, other = (tensors[name] for name in heads)
    # The file stays a valid network of the same shapes; its nodes come in another order.
    nodes = list(model.graph.node)
    places = [next(i for i, n in enumerate(nodes) if name in n.input) for name in heads]
    assert one.dims == other.dims
    first, second = places
    moved = nodes[:first] + nodes[second : second + 1] + nodes[first:second] + nodes[second + 1 :]
    del model.graph.node[:]
    model.graph.node.extend(moved)
    path = tmp_path / "swapped.onnx"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"computes something else|in another order"):
        from_onnx(path)


def test_exporting_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ArtifactError, match=r"pip install 'tocsin\[export\]'"):
        to_onnx(network(), NAMES, tmp_path / "x.onnx")


def test_a_size_that_the_network_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="multiples of 32"):
        write(network(), NAMES, tmp_path / "x", source=tmp_path, size=(100, 100))

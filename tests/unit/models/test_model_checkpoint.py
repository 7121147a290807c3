from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from models.checkpoint import Manifest, load, save
from models.errors import ArtifactError

FEATURES = {"card": ["amount", "gap"], "profile": ["risk"]}
MANIFEST = Manifest(
    name="toy",
    version="1.2",
    features=FEATURES,
    config={"hidden": 3},
    threshold=0.5,
    training={"seed": 1},
    metrics={"auc": 0.9},
    created="2026-01-01T00:00:00+00:00",
)


@pytest.fixture
def stem(tmp_path: Path) -> Path:
    stem = tmp_path / "toy-v1.2"
    save(stem, nn.Linear(2, 3), MANIFEST)
    return stem


def weights(stem: Path) -> Path:
    return stem.with_name(stem.name + ".safetensors")


def manifest(stem: Path) -> Path:
    return stem.with_name(stem.name + ".json")


@pytest.mark.parametrize("file", [weights, manifest])
def test_what_was_saved_comes_back_from_either_file(
    stem: Path, file: Callable[[Path], Path]
) -> None:
    state, found = load(file(stem), FEATURES)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        "weight": (3, 2),
        "bias": (3,),
    }
    assert found == msgspec.structs.replace(MANIFEST, sha256=found.sha256)
    assert len(found.sha256) == 64


def test_saving_twice_gives_the_same_checksum(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Linear(2, 3)
    one, two = (save(tmp_path / name, module, MANIFEST) for name in ("one", "two"))
    assert one.sha256 == two.sha256


@pytest.mark.parametrize("file", [weights, manifest])
def test_a_missing_file_is_named(stem: Path, file: Callable[[Path], Path]) -> None:
    file(stem).unlink()
    with pytest.raises(ArtifactError, match=f"{file(stem).name} is missing"):
        load(manifest(stem))


def test_a_truncated_weights_file_is_refused(stem: Path) -> None:
    weights(stem).write_bytes(weights(stem).read_bytes()[:-5])
    with pytest.raises(ArtifactError, match="sha256 differs"):
        load(manifest(stem))


def test_a_truncated_manifest_is_refused(stem: Path) -> None:
    manifest(stem).write_bytes(manifest(stem).read_bytes()[:-5])
    with pytest.raises(ArtifactError, match="is no model manifest"):
        load(manifest(stem))


def test_weights_for_other_features_are_refused(stem: Path) -> None:
    with pytest.raises(ArtifactError, match="other card features"):
        load(manifest(stem), {"card": ["gap", "amount"]})


def test_every_message_is_one_line(stem: Path) -> None:
    weights(stem).write_bytes(b"")
    with pytest.raises(ArtifactError) as refused:
        load(manifest(stem))
    assert "\n" not in str(refused.value)

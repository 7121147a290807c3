"""Weights are taken from whom we trust alone, once we say whom that is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from models.errors import ArtifactError
from models.signature import BUNDLED, require_signature


def new_key(folder: Path, name: str, algorithm: str = "ed25519") -> tuple[Path, Path]:
    """A key pair as a user makes it: the private one, the public one."""
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    make = ["openssl", "genpkey", "-algorithm", algorithm, "-out", private]
    subprocess.run(make, check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


def sign(file: Path, private: Path) -> None:
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private]
    subprocess.run([*command, "-in", file, "-out", f"{file}.sig"], check=True)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return new_key(tmp_path_factory.mktemp("ours"), "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return new_key(tmp_path_factory.mktemp("theirs"), "theirs")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "fraud-v3.1.json"
    path.write_text("{}")
    path.with_suffix(".safetensors").write_bytes(b"weights")
    return path


def test_without_a_key_everything_is_taken(manifest: Path) -> None:
    require_signature(manifest, [])


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_what_one_of_the_trusted_has_signed_is_taken(
    manifest: Path, ours: tuple[Path, Path], theirs: tuple[Path, Path], suffix: str
) -> None:
    sign(manifest, ours[0])

    require_signature(manifest.with_suffix(suffix), [theirs[1], ours[1]])


def test_what_is_not_signed_or_by_somebody_else_or_changed_is_refused_with_the_reason(
    manifest: Path, ours: tuple[Path, Path], theirs: tuple[Path, Path]
) -> None:
    with pytest.raises(ArtifactError, match=r"fraud-v3\.1\.json is not signed: .*\.sig cannot"):
        require_signature(manifest, [ours[1]])
    sign(manifest, theirs[0])
    with pytest.raises(ArtifactError, match=r"not signed by anyone of models\.trusted_keys"):
        require_signature(manifest, [ours[1]])
    sign(manifest, ours[0])
    manifest.write_text('{"threshold": 1}')
    with pytest.raises(ArtifactError, match="was changed after that"):
        require_signature(manifest, [ours[1]])
    Path(f"{manifest}.sig").write_bytes(b"short")
    with pytest.raises(ArtifactError, match="was changed after that"):
        require_signature(manifest, [ours[1]])


def test_an_onnx_file_needs_a_signature_of_its_own(manifest: Path, ours: tuple[Path, Path]) -> None:
    sign(manifest, ours[0])
    onnx = manifest.with_name("fraud-v3.1.onnx")
    onnx.write_bytes(b"graph")
    for weights in (manifest, onnx):
        with pytest.raises(ArtifactError, match=r"\.onnx is not signed"):
            require_signature(weights, [ours[1]])
    sign(onnx, ours[0])
    for weights in (manifest, onnx):
        require_signature(weights, [ours[1]])


def test_a_key_that_is_none_is_named(manifest: Path, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pub"
    garbage.write_text("no key")
    with pytest.raises(ArtifactError, match=r"garbage\.pub is no public key in PEM"):
        require_signature(manifest, [garbage])
    with pytest.raises(ArtifactError, match=r"nowhere\.pub cannot be read"):
        require_signature(manifest, [tmp_path / "nowhere.pub"])
    _, other = new_key(tmp_path, "x25519", "x25519")
    with pytest.raises(ArtifactError, match="is no Ed25519 key"):
        require_signature(manifest, [other])


def test_bundled_weights_are_trusted_as_the_code_is(ours: tuple[Path, Path]) -> None:
    bundled = sorted(BUNDLED.glob("*.json"))

    assert bundled
    for manifest in bundled:
        require_signature(manifest, [ours[1]])

"""Weights on disk: a safetensors file and, beside it, a JSON manifest that vouches for it.

``fraud-v2.json`` describes ``fraud-v2.safetensors``: which code can run it (features, config), what
it was trained on, how well it did, and the checksum that ties the two files together. Nothing is
ever unpickled.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import torch

from models.errors import ArtifactError


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a weights file is, where it came from and what it can do."""

    name: str
    version: str
    features: dict[str, list[str]]
    """Names of the inputs in column order, by group (for fraud: ``card``, ``profile``)."""
    config: Mapping[str, int | float | bool | list[int]]
    """Fields of the network's config dataclass."""
    classes: list[str] = []
    """Names of a detector's classes in the order of its outputs; empty for other networks."""
    domain: str = ""
    """What alone it is fit for, as ``simulated``; empty where its use is not limited."""
    limits: str = ""
    """What it cannot do, in words."""
    threshold: float
    """Score from which the network's training suggests an alert."""
    training: dict[str, Any]
    metrics: dict[str, float]
    reference: dict[str, dict[str, list[float]]] = {}
    """Histograms of inputs and scores to measure drift against; see `models.fraud.drift`."""
    created: str
    """UTC time in ISO 8601."""
    sha256: str = ""
    """Checksum of the safetensors file, filled in by `save`."""


def save(stem: Path, module: torch.nn.Module, manifest: Manifest) -> Manifest:
    """Write ``stem.safetensors`` and ``stem.json``; the manifest returned carries the checksum.

    The manifest is written last, so a crash leaves a pair that `load` refuses, never a wrong one.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in _state(module).items()}
    data = safetensors.torch.save(tensors)
    sealed = msgspec.structs.replace(manifest, sha256=hashlib.sha256(data).hexdigest())
    stem.parent.mkdir(parents=True, exist_ok=True)
    _beside(stem, ".safetensors").write_bytes(data)
    text = msgspec.json.format(msgspec.json.encode(sealed), indent=2)
    _beside(stem, ".json").write_bytes(text + b"\n")
    return sealed


def load(
    path: Path, features: Mapping[str, Sequence[str]] | None = None
) -> tuple[dict[str, torch.Tensor], Manifest]:
    """Read a pair back, given either of its files.

    Args:
        path: the manifest or the safetensors file.
        features: names that the running code computes; None skips the comparison.

    Raises:
        ArtifactError: a file is missing, damaged, of another checksum or of other features.
    """
    stem = path.with_suffix("")
    manifest_path, weights_path = _beside(stem, ".json"), _beside(stem, ".safetensors")
    manifest = read_manifest(manifest_path)
    data = _read(weights_path)
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise ArtifactError(
            f"{weights_path} is not the file that {manifest_path.name} describes "
            "(sha256 differs): copy or train both again"
        )
    for group, names in (features or {}).items():
        if manifest.features.get(group) != list(names):
            raise ArtifactError(
                f"{manifest_path} was trained on other {group} features than this version "
                "computes: train it again, or run the version that wrote it"
            )
    try:
        return safetensors.torch.load(data), manifest
    except safetensors.SafetensorError as error:
        raise ArtifactError(f"{weights_path} is no safetensors file: {error}") from error


def read_manifest(path: Path) -> Manifest:
    """Read a manifest without its weights, given either of the two files.

    Raises:
        ArtifactError: it is missing or is none.
    """
    path = _beside(path.with_suffix(""), ".json")
    try:
        return msgspec.json.decode(_read(path), type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is no model manifest: {error}") from error


def _state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.state_dict())


def _beside(stem: Path, suffix: str) -> Path:
    """`stem` plus a suffix; a version such as ``v1.2`` in the name is no suffix of its own."""
    return stem.with_name(stem.name + suffix)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} is missing: a model is a .safetensors file and a .json manifest side by side"
        ) from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error

"""The detector that the settings name."""

from __future__ import annotations

from pathlib import Path

from models.errors import ArtifactError
from models.signature import require_signature
from models.vision.class_names import class_names_of
from models.vision.detector import ObjectDetector, Thresholds
from models.vision.domain import REAL, SIMULATED, claim_of, require_domain_of
from models.vision.loading import load_detector, suits_torch
from models.vision.weights_cache import WeightsCache, default_folder, sha256_of
from streams.schemas import ModelRef
from streams.settings import Settings


def load_network(settings: Settings, threads: int) -> tuple[ObjectDetector, ModelRef, str | None]:
    """Load the detector; with why it must not see a real camera, None where it may.

    Raises:
        ModelError: the weights are missing or damaged, or the device is not there.
    """
    weights = _weights(settings)
    require_signature(weights, settings.models.trusted_keys)
    network = load_detector(
        weights,
        device=settings.vision.device,
        threads=threads,
        thresholds=Thresholds(confidence=settings.vision.confidence),
        source=SIMULATED,  # each frame says where it comes from: see the refusal below
    )
    try:
        require_domain_of(weights, REAL)
    except ArtifactError as error:
        refusal: str | None = f"{error}; set vision.model"
    else:
        refusal = None
    return network, _reference(weights), refusal


def check_weights(settings: Settings, source: str) -> None:
    """Look whether the weights are there and fit for `source` (see `models.vision.domain`).

    Raises:
        ArtifactError: they are not.
    """
    require_domain_of(_weights(settings), source)


def class_names(settings: Settings) -> tuple[str, ...]:
    """Name what the detector that the settings name can see; without loading it.

    Raises:
        ArtifactError: the weights are missing or damaged.
    """
    return class_names_of(_weights(settings, torch=False))


def _reference(weights: Path) -> ModelRef:
    """Name the weights: by their manifest or label where they have one, else by their file."""
    if weights.suffix in {".json", ".safetensors"}:
        from models.checkpoint import read_manifest  # noqa: PLC0415  imports torch

        manifest = read_manifest(weights)
        return ModelRef(manifest.name, manifest.version, manifest.sha256)
    claim = claim_of(weights)
    if claim is not None and claim.sha256:
        return ModelRef(claim.name, claim.version, sha256_of(weights))
    return ModelRef(weights.stem, "", sha256_of(weights))


def _weights(settings: Settings, *, torch: bool | None = None) -> Path:
    """The file to load, or any of the same network: the one for the device, if not told."""
    if torch is None:
        torch = suits_torch(settings.vision.device, "auto")
    cache = WeightsCache(settings.models.cache_dir or default_folder())
    return cache.resolve(settings.vision.model, torch=torch)

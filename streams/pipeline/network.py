"""The detector that the settings name."""

from __future__ import annotations

from models.vision.detector import ObjectDetector, Thresholds
from models.vision.loading import load_detector
from models.vision.weights_cache import WeightsCache, default_folder, sha256_of
from streams.schemas import ModelRef
from streams.settings import Settings


def load_network(
    settings: Settings, threads: int, confidence: float
) -> tuple[ObjectDetector, ModelRef, bool]:
    """Load the detector; with whether it knows the simulated camera alone.

    `confidence` is that of the weakest object that is of use to the tracker.

    Raises:
        ModelError: the weights are missing or damaged, or the device is not there.
    """
    vision = settings.vision
    cache = WeightsCache(settings.models.cache_dir or default_folder())
    weights = cache.resolve(vision.model, torch=vision.device.startswith("cuda"))
    network = load_detector(
        weights,
        device=vision.device,
        threads=threads,
        thresholds=Thresholds(confidence=confidence),
    )
    return network, ModelRef(weights.stem, "", sha256_of(weights)), False

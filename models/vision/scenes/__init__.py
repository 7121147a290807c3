"""The simulated street camera: a drawn world that is the same for the same seed and moment."""

from models.vision.scenes.camera import CLASS_NAMES, SceneTruth, StreetCamera

__all__ = ["CLASS_NAMES", "SceneTruth", "StreetCamera"]

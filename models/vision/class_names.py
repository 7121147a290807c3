"""The classes of a file of weights, without loading the network: importing this spares torch."""

from __future__ import annotations

from pathlib import Path

import msgspec

from models.errors import ArtifactError
from models.vision.classes import COCO


class _Manifest(msgspec.Struct, frozen=True):
    classes: tuple[str, ...] = ()


def class_names_of(weights: Path) -> tuple[str, ...]:
    """Name what a detector with these weights can see, by class_id.

    Raises:
        ArtifactError: the file is missing, is no such network, or its manifest is damaged.
    """
    if weights.suffix == ".onnx":
        from models.vision.onnx_core import OnnxCore  # noqa: PLC0415  a manifest does without

        return OnnxCore(weights, threads=1).names
    if weights.suffix == ".pth":
        return COCO  # an official checkpoint
    manifest = weights.with_suffix(".json")
    try:
        return msgspec.json.decode(manifest.read_bytes(), type=_Manifest).classes
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactError(f"{manifest} is no model manifest: {error}") from error

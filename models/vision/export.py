"""A network into files: safetensors with a manifest for torch, ONNX for ONNX Runtime."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path

import torch

from models import checkpoint
from models.errors import ArtifactError
from models.vision.conversion import optional
from models.vision.detector import Thresholds
from models.vision.domain import claim_of
from models.vision.label import (
    LABEL_KEY,
    NAMES_KEY,
    PREPROCESSING,
    WEIGHTS_KEY,
    Label,
    encode_label,
)
from models.vision.network import ServedYolox, Yolox, fold
from models.vision.weights_cache import sha256_of


def write(
    network: Yolox,
    names: Sequence[str],
    stem: Path,
    *,
    source: Path,
    size: tuple[int, int] | None = None,
) -> checkpoint.Manifest:
    """Write what was loaded from `source` as ``stem.safetensors``, ``stem.json``, ``stem.onnx``.

    Raises:
        ArtifactError: the exporter is not installed, the network cannot have that input size, or
            the files cannot be written.
    """
    try:
        network.config = replace(network.config, size=size or network.config.size)
    except ValueError as error:
        raise ArtifactError(str(error)) from None
    given = claim_of(source)
    manifest = checkpoint.Manifest(
        name=stem.name,
        version="1",
        features={},
        config=asdict(network.config),
        classes=list(names),
        domain=given.domain if given is not None else "",
        limits=given.limits if given is not None else "",
        threshold=Thresholds().confidence,
        training={"converted_from": source.name, "sha256": sha256_of(source)},
        metrics={},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    optional("onnxscript", "writing ONNX")  # before anything is written
    try:
        sealed = checkpoint.save(stem, network, manifest)
        to_onnx(network, names, stem.with_name(stem.name + ".onnx"), sealed)
    except OSError as error:
        raise ArtifactError(f"cannot write {stem}: {error.strerror}") from error
    return sealed


def to_onnx(
    network: Yolox,
    names: Sequence[str],
    path: Path,
    manifest: checkpoint.Manifest | None = None,
) -> None:
    """Write `network` as an ONNX file for any number of frames a call, with its label inside.

    Args:
        network: stays as it is.
        names: of its classes.
        path: where to; overwritten.
        manifest: of the safetensors file that it was made from, if there is one.

    Raises:
        ArtifactError: the exporter is not installed.
    """
    optional("onnxscript", "writing ONNX")
    served = ServedYolox(fold(copy.deepcopy(network))).eval()
    with _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        program = torch.onnx.export(
            served,
            (torch.zeros(2, 3, *network.config.size),),
            input_names=["images"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ArtifactError(
            "torch.onnx.export gave nothing to save: report it with torch's version"
        )
    label = Label(
        name=path.stem if manifest is None else manifest.name,
        version="1" if manifest is None else manifest.version,
        domain="" if manifest is None else manifest.domain,
        limits="" if manifest is None else manifest.limits,
        size=network.config.size,
        preprocessing=PREPROCESSING,
        producer=f"tocsin {installed('tocsin')}",
    )
    metadata = program.model.metadata_props
    metadata[NAMES_KEY] = json.dumps(list(names))
    metadata[WEIGHTS_KEY] = "" if manifest is None else manifest.sha256
    metadata[LABEL_KEY] = encode_label(label)
    program.save(path, external_data=False)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """The exporter tells the log of each node that it folds, and of what is not installed."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)

"""Weights files of every kind into our network: ours, official ONNX, legacy checkpoints.

Nothing is taken on trust: a checkpoint must have exactly the names and shapes of a network that we
know, and what comes out of an ONNX file must compute what ONNX Runtime computes from that file.
"""

from __future__ import annotations

import math
import pickle  # nosec B403 # for the names of its errors
import struct
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from models import checkpoint
from models.errors import ArtifactError
from models.vision.classes import COCO
from models.vision.network import PRESETS, ConvBlock, ServedYolox, Yolox, YoloxConfig
from models.vision.onnx_core import OnnxCore

Named = tuple[Yolox, tuple[str, ...]]
"""A network and the names of its classes."""

# What torch's safe unpickler was seen to raise over a thousand damaged files, and OSError.
_UNREADABLE = (
    *(pickle.UnpicklingError, struct.error, RuntimeError, EOFError, ValueError, OSError),
    *(LookupError, AttributeError, AssertionError, TypeError),
)


def from_manifest(path: Path) -> Named:
    """Read weights of our own, given the manifest or the safetensors file.

    Raises:
        ArtifactError: a file is missing, damaged, or holds another network.
    """
    state, manifest = checkpoint.load(path)
    try:
        network = Yolox(msgspec.convert(manifest.config, YoloxConfig))
        network.load_state_dict(state)
    except (msgspec.ValidationError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} describes no detector that this version can run") from error
    if len(manifest.classes) != network.config.classes:
        raise ArtifactError(
            f"{path} names {len(manifest.classes)} of its {network.config.classes} classes"
        )
    return network.eval(), tuple(manifest.classes)


def from_pth(path: Path) -> Named:
    """Read a checkpoint of the official code; unpickles tensors and plain containers, nothing else.

    Raises:
        ArtifactError: the file is damaged, would run code, or holds another network.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of what is refused below
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise ArtifactError(
            f"{path} is no checkpoint that can be read safely (tensors only): "
            "pull it again, or take the .onnx file"
        ) from error
    state = found.get("model", found) if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ArtifactError(f"{path} holds no network: a YOLOX checkpoint keeps it under 'model'")
    classes = len(state.get("head.cls_preds.0.bias", ()))
    if classes != len(COCO):
        raise ArtifactError(f"{path} has {classes} classes and no names for them, not COCO's 80")
    network = _fitting(path, classes, _shapes(state), lambda n: _shapes(n.state_dict()))
    network.load_state_dict(state)
    return network, COCO


def from_onnx(path: Path) -> Named:
    """Read an ONNX file, official or exported by us, back into the network.

    Its batch norms are folded into the convolutions. The network returned has them beside the
    convolutions again, doing nothing: the same function in evaluation, but no statistics to train
    with: `models.vision.norms` measures them, for who wants to train on.

    Raises:
        ArtifactError: the file is damaged, or is no such network.
    """
    served = OnnxCore(path, threads=1)
    onnx = optional(
        "onnx",
        f"reading the weights of {path} into torch",
        "take the checkpoint: tocsin models pull NAME --format pth",
    )
    graph = onnx.load(path).graph
    tensors = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    convs = [list(node.input[1:]) for node in graph.node if node.op_type == "Conv"]
    if not all(name in tensors for names in convs for name in names):
        raise ArtifactError(f"{path} is no YOLOX export: it computes its weights")
    # 1. The network whose convolutions have these shapes, in the order in which they run.
    kernels = [tensors[names[0]].shape for names in convs]
    network = _fitting(path, len(served.names), sorted(kernels), lambda n: sorted(_kernels(n)))
    network.config = replace(network.config, size=served.size)
    order = _running_order(network)
    if [conv.weight.shape for conv in order] != kernels:
        raise ArtifactError(f"{path} has the convolutions of a YOLOX network in another order")
    # 2. Weights into the convolutions, biases into the batch norms after them.
    norms = {id(b.conv): b.bn for b in network.modules() if isinstance(b, ConvBlock)}
    with torch.no_grad():
        for conv, (weight, *bias) in zip(order, convs, strict=True):
            conv.weight.copy_(torch.from_numpy(tensors[weight].copy()))
            shift = torch.from_numpy(tensors[bias[0]].copy()) if bias else torch.zeros(1)
            norm = norms.get(id(conv))
            if isinstance(norm, nn.BatchNorm2d):
                norm.weight.fill_(math.sqrt(1 + norm.eps))  # cancels the unit variance
                norm.bias.copy_(shift)
            elif conv.bias is not None:
                conv.bias.copy_(shift)
    # 3. Equal shapes may hide a swap: the outputs tell.
    _must_agree(path, network, served)
    return network, served.names


def _fitting(path: Path, classes: int, found: Any, shapes_of: Callable[[Yolox], Any]) -> Yolox:
    """A network of the preset whose shapes are those found; its weights are still random.

    Raises:
        ArtifactError: none has them.
    """
    for preset in PRESETS.values():
        config = replace(preset, classes=classes)
        with torch.device("meta"):  # shapes without memory
            fits = shapes_of(Yolox(config)) == found
        if fits:
            return Yolox(config).eval()
    raise ArtifactError(
        f"{path} is no YOLOX network of a size that this version knows ({', '.join(PRESETS)})"
    )


def _kernels(network: Yolox) -> list[tuple[int, ...]]:
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, nn.Conv2d)]


def _running_order(network: Yolox) -> list[nn.Conv2d]:
    """The convolutions in the order in which they run."""
    order: list[nn.Conv2d] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: order.append(module))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        network.eval()(next(network.parameters()).new_zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return order


def _must_agree(path: Path, network: Yolox, served: OnnxCore) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, *served.size), np.uint8)
    expected = served.run(pixels)
    with torch.inference_mode():
        found = ServedYolox(network)(torch.from_numpy(pixels).float()).numpy()
    if not np.allclose(found, expected, atol=1e-3, rtol=1e-3):
        raise ArtifactError(
            f"{path} looks like YOLOX and computes something else: the outputs differ by "
            f"{np.abs(found - expected).max():.3g}"
        )


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def optional(name: str, why: str, instead: str = "") -> Any:
    """Import what only conversions need; `instead` says how to do without.

    Raises:
        ArtifactError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ArtifactError(
            f"{why} needs the package {error.name}: pip install 'tocsin[export]'"
            + (f", or {instead}" if instead else "")
        ) from None

"""A detector from a weights file, on the device and backend that suit each other."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.errors import ArtifactError
from models.vision.detector import Core, Thresholds, YoloxDetector
from models.vision.domain import REAL, require_domain_of
from models.vision.weights_cache import sha256_of

if TYPE_CHECKING:
    from models.vision.network import Yolox

Backend = Literal["auto", "onnx", "torch"]

SUFFIXES = (".onnx", ".json", ".safetensors", ".pth")


def load_detector(
    weights: Path,
    *,
    device: str = "auto",
    backend: Backend = "auto",
    threads: int = 0,
    thresholds: Thresholds | None = None,
    source: str = REAL,
) -> YoloxDetector:
    """Load a detector, ready to run.

    Args:
        weights: an ONNX file (official or exported by us), a manifest or safetensors file of ours,
            or an official ``.pth``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        backend: ``auto`` is ONNX Runtime on the CPU where there is an ONNX file, else torch.
        threads: that run the network on the CPU; 0 takes one per physical core with ONNX Runtime,
            and those of the process with torch (see `TorchCore`).
        thresholds: what is reported; `Thresholds` if None.
        source: where the frames come from; `models.vision.domain.SIMULATED` for the simulated
            street camera, the one source that weights of that domain are let near.

    Raises:
        ArtifactError: the file is missing, damaged, or no such network; the backend cannot read
            it; or it was made for another source.
        DeviceError: there is no such device.
    """
    if weights.suffix not in SUFFIXES:
        raise ArtifactError(f"{weights}: weights are files in {', '.join(SUFFIXES)}")
    require_domain_of(weights, source)
    found = _onnx_beside(weights)
    if suits_torch(device, backend) or (found is None and backend == "auto"):
        return YoloxDetector(_torch_core(weights, device, threads), thresholds)
    return YoloxDetector(_onnx_core(weights, found, threads), thresholds)


def suits_torch(device: str, backend: Backend) -> bool:
    """Whether torch runs the network, where there is the choice; see `load_detector`.

    Raises:
        ArtifactError: ONNX Runtime is asked to run on a GPU.
    """
    if backend == "onnx" and device.startswith("cuda"):
        raise ArtifactError(f"the onnx backend runs on the CPU, not on {device}: take torch")
    if backend != "auto" or device != "auto":
        return backend == "torch" or (backend == "auto" and device != "cpu")
    try:
        ctypes.CDLL("libcuda.so.1")  # no driver, no GPU: spare the seconds that torch takes
    except OSError:
        return False
    import torch  # noqa: PLC0415

    return torch.cuda.is_available()


def load_network(weights: Path) -> tuple[Yolox, tuple[str, ...]]:
    """Load a network, on the CPU in evaluation mode, and the names of its classes.

    Raises:
        ArtifactError: see `load_detector`.
    """
    from models.vision import conversion  # noqa: PLC0415  imports torch, which takes seconds

    match weights.suffix:
        case ".onnx":
            return conversion.from_onnx(weights)
        case ".pth":
            return conversion.from_pth(weights)
        case ".json" | ".safetensors":
            return conversion.from_manifest(weights)
        case _:
            raise ArtifactError(f"{weights}: weights are files in {', '.join(SUFFIXES)}")


def _onnx_beside(weights: Path) -> Path | None:
    if weights.suffix == ".onnx":
        return weights
    beside = weights.with_name(weights.stem + ".onnx")
    return beside if weights.suffix != ".pth" and beside.is_file() else None


def _onnx_core(weights: Path, found: Path | None, threads: int) -> Core:
    from models.vision.label import WEIGHTS_KEY  # noqa: PLC0415
    from models.vision.onnx_core import OnnxCore  # noqa: PLC0415  torch does without

    if found is None:
        raise ArtifactError(
            f"{weights} has no .onnx file beside it: tocsin models export makes one"
        )
    core = OnnxCore(found, threads=threads)
    if found != weights:
        tensors = weights.with_name(weights.stem + ".safetensors")
        if not tensors.is_file() or core.metadata.get(WEIGHTS_KEY) != sha256_of(tensors):
            raise ArtifactError(
                f"{found} was not made from {tensors.name} as it is now: "
                "export it again with tocsin models export"
            )
    return core


def _torch_core(weights: Path, device: str, threads: int) -> Core:
    from models.device import pick  # noqa: PLC0415  imports torch
    from models.vision.torch_core import TorchCore  # noqa: PLC0415

    place = pick(device)
    network, names = load_network(weights)
    return TorchCore(network, names, place, threads=threads)

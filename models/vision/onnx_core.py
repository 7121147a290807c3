"""The network in ONNX Runtime on the CPU; importing this does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

# It reports its use to its maker, and keeps an id in the home directory, unless it is told not to
# before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from models.errors import ArtifactError
from models.vision.classes import COCO
from models.vision.grid import places
from models.vision.label import NAMES_KEY, WEIGHTS_KEY, Label, read_label

# They have no base of their own below Exception.
_ERRORS = tuple(
    kind
    for kind in vars(onnxruntime_pybind11_state).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)


class OnnxCore:
    """An ONNX file with the inputs and outputs of an official YOLOX export, or one of ours.

    An official file takes one frame a call and says nothing of its classes: it is fed frame by
    frame, and its 80 classes are those of COCO. Ours takes any number and names its classes.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        """Load `path`; `threads` 0 takes one per physical core.

        Raises:
            ArtifactError: the file is missing, is no ONNX file, or is no such network.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle threads that spin take the cores from decoding and from the rest of the worker.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = _open(path, options)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise _unlike_yolox(path, f"{len(inputs)} inputs and {len(outputs)} outputs")
        (taken,), (given,) = inputs, outputs
        self._input = taken.name
        self._batch = taken.shape[0] if isinstance(taken.shape[0], int) else None
        self.size = _size(path, taken.shape)
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.names = self._names(path, given.shape)
        self.label = read_label(path, self.metadata, self.size)

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(B, 3, H, W) to (B, A, 5 + C)."""
        if not len(pixels):
            return np.zeros((0, len(places(self.size)[0]), 5 + len(self.names)), np.float32)
        floats = pixels.astype(np.float32)
        if self._batch is None:
            return self._call(floats)
        return np.concatenate([self._call(floats[i : i + 1]) for i in range(len(floats))])

    def _call(self, floats: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        out: npt.NDArray[np.float32] = self._session.run(None, {self._input: floats})[0]
        return out

    def _names(self, path: Path, shape: list[int | str | None]) -> tuple[str, ...]:
        count, outputs = len(places(self.size)[0]), shape[-1]
        if len(shape) != 3 or shape[1] != count or not isinstance(outputs, int) or outputs < 6:
            raise _unlike_yolox(path, f"outputs of shape {shape}")
        text = self.metadata.get(NAMES_KEY)
        try:
            names = COCO if text is None else msgspec.json.decode(text, type=tuple[str, ...])
        except msgspec.MsgspecError:
            raise _unlike_yolox(path, f"metadata {NAMES_KEY!r} that is no list") from None
        if len(names) != outputs - 5:
            raise _unlike_yolox(path, f"{outputs - 5} classes, of which {len(names)} have names")
        return names


def label_of(path: Path) -> tuple[Label | None, str]:
    """Read the label of an ONNX file, and the checksum of the weights that it was made from.

    Both are empty where the file is not of our export.

    Raises:
        ArtifactError: the file is missing, is no ONNX file, or its label is not its own.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = _open(path, options)
    metadata = session.get_modelmeta().custom_metadata_map
    label = read_label(path, metadata, _size(path, session.get_inputs()[0].shape))
    return label, metadata.get(WEIGHTS_KEY, "")


def _open(path: Path, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: tocsin models list shows what can be pulled")
    options.log_severity_level = 3  # old exports repeat initialisers as inputs: no news
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _ERRORS as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(f"{path} is no ONNX file that can be run: {reason}") from None


def _size(path: Path, shape: list[int | str | None]) -> tuple[int, int]:
    match shape:
        case [None | str() | 1, 3, int(height), int(width)] if not height % 32 and not width % 32:
            return height, width
        case _:
            raise _unlike_yolox(path, f"an input of shape {shape}")


def _unlike_yolox(path: Path, what: str) -> ArtifactError:
    return ArtifactError(f"{path} is no YOLOX network as this version runs it: it has {what}")

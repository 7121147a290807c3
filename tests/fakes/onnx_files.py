"""Small ONNX files with the inputs and outputs of a YOLOX export, made without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.vision.label import LABEL_KEY, NAMES_KEY, PREPROCESSING, WEIGHTS_KEY

SIDE = 32
PLACES = 16 + 4 + 1


def write_onnx(
    path: Path,
    *,
    classes: int = 2,
    names: Sequence[str] | str | None = ("cat", "dog"),
    batch: int | str = "batch",
    channels: int = 3,
    label: Mapping[str, Any] | str | None = None,
    weights_sha256: str = "",
) -> Path:
    """A linear function of the frame; `names` None writes none, a string is written as it is.

    `label` holds what differs from that of an export of ours; None writes none.
    """
    rng = np.random.default_rng(0)
    width = PLACES * (5 + classes)
    weight = (rng.normal(size=(channels * SIDE * SIDE, width)) / 1e5).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["product"]),
        helper.make_node("Reshape", ["product", "shape"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, channels, SIDE, SIDE])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, PLACES, 5 + classes])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array([-1, PLACES, 5 + classes]), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    properties = {}
    if names is not None:
        properties[NAMES_KEY] = names if isinstance(names, str) else json.dumps(list(names))
    if label is not None:
        whole = {"name": "fake", "version": "1", "size": [SIDE, SIDE], "producer": "tocsin 0"}
        whole |= {"preprocessing": PREPROCESSING, **(label if isinstance(label, dict) else {})}
        properties[LABEL_KEY] = label if isinstance(label, str) else json.dumps(whole)
        properties[WEIGHTS_KEY] = weights_sha256
    helper.set_model_props(model, properties)
    onnx.save(model, path)
    return path

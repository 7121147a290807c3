"""How good a network is on examples, for its manifest."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch

from models.vision.annotations import Truth
from models.vision.boxes import Detections, iou
from models.vision.detector import YoloxDetector
from models.vision.evaluation import RANKED, average_precision
from models.vision.examples import Examples
from models.vision.network import Yolox
from models.vision.torch_core import TorchCore

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_BATCH = 8
_MATCH = 0.5


def judge(network: Yolox, examples: Examples) -> tuple[float, dict[str, float]]:
    """Average precision on all examples, and the threshold that balances misses and false alarms.

    Returns:
        The confidence at which precision and recall together (F1) are best; and ``ap``, ``ap50``,
        the same for each class as ``ap50 NAME``, ``precision`` and ``recall`` at the threshold.

    Raises:
        DataError: the examples hold no object, or one of the pictures cannot be read.
    """
    core = TorchCore(copy.deepcopy(network), examples.names, torch.device("cpu"))
    detector = YoloxDetector(core, RANKED)
    truths: list[Truth] = []
    found: list[Detections] = []
    for begin in range(0, len(examples), _BATCH):
        batch = [examples[i] for i in range(begin, min(begin + _BATCH, len(examples)))]
        truths += [example.truth for example in batch]
        found += detector.detect([example.image for example in batch])
    overall, each = average_precision(truths, found, dict(enumerate(examples.names)))
    threshold, precision, recall = balance(truths, found)
    figures = {
        "ap": overall.ap,
        "ap50": overall.ap50,
        **{f"ap50 {name}": one.ap50 for name, one in each.items()},
        "precision": precision,
        "recall": recall,
        "held_out": float(len(examples)),
    }
    return round(threshold, 3), {name: round(value, 4) for name, value in figures.items()}


def balance(truths: list[Truth], found: list[Detections]) -> tuple[float, float, float]:
    """Threshold, precision and recall where F1 is best."""
    scores: list[Floats] = [np.zeros(0, np.float32)]
    hits: list[Bools] = [np.zeros(0, np.bool_)]
    wanted = 0
    for truth, some in zip(truths, found, strict=True):
        hit, counts = _matches(truth, some)
        scores.append(some.confidence[counts])
        hits.append(hit[counts])
        wanted += int((~truth.ignored).sum())
    score = np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    right = np.cumsum(np.concatenate(hits)[order])
    if not len(right) or right[-1] == 0:
        return 0.5, 0.0, 0.0
    precision, recall = right / np.arange(1, len(right) + 1), right / max(wanted, 1)
    best = int(np.argmax(2 * precision * recall / (precision + recall + 1e-9)))
    return float(score[order][best]), float(precision[best]), float(recall[best])


def _matches(truth: Truth, some: Detections) -> tuple[Bools, Bools]:
    """Which detections, best first, find an object; and which count at all, (N,) each."""
    overlap = iou(some.xyxy, truth.xyxy)  # (N, M)
    overlap[some.class_id[:, None] != truth.class_id] = 0.0
    hit, counts = np.zeros(len(some), np.bool_), np.ones(len(some), np.bool_)
    for row in np.argsort(-some.confidence, kind="stable").tolist():
        free = np.where(truth.ignored, 0.0, overlap[row])
        if len(free) and free.max() >= _MATCH:
            hit[row] = True
            overlap[:, int(free.argmax())] = 0.0
        elif (overlap[row][truth.ignored] >= _MATCH).any():
            counts[row] = False
    return hit, counts

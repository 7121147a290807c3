"""How good a detector is: average precision as COCO defines it, computed by COCO's own code.

Definition: https://cocodataset.org/#detection-eval. Of each picture the 100 best detections count.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from models.errors import DataError
from models.vision.annotations import Truth
from models.vision.boxes import Boxes, Detections
from models.vision.detector import Thresholds

RANKED: Final = Thresholds(confidence=0.01, iou=0.65, labels="all", clip=False)
"""What a detector reports for this measure: nearly everything, since the ranking is judged, and as
it stands, as the published figures are computed. (Boxes cut off at the edges, as they are served,
score 0.06 points more with YOLOX-Nano on 128 pictures of COCO.)"""


@dataclass(frozen=True, slots=True)
class Precision:
    """Average precision, from 0 to 1.

    Attributes:
        ap: mean over IoU thresholds from 0.50 to 0.95.
        ap50: at an IoU threshold of 0.50.
    """

    ap: float
    ap50: float


def average_precision(
    truths: Sequence[Truth], found: Sequence[Detections], names: Mapping[int, str]
) -> tuple[Precision, dict[str, Precision]]:
    """Judge detections.

    Args:
        truths: of M pictures.
        found: in the same pictures, with the same class ids.
        names: of the classes to judge, by class id; boxes of others are not looked at.

    Returns:
        The mean over the judged classes of which there is an object, and each of these by name.

    Raises:
        DataError: there is no object of any of these classes.
    """
    # 1. As the reference code takes it; ids from 1, since a match with 0 counts as none there.
    objects: list[dict[str, Any]] = []
    reported: list[dict[str, Any]] = []
    for picture, (truth, some) in enumerate(zip(truths, found, strict=True), start=1):
        crowds = truth.ignored.tolist()
        for box, class_id, crowd in zip(_xywh(truth.xyxy), truth.class_id, crowds, strict=True):
            one = _entry(picture, int(class_id), box)
            objects.append({**one, "id": len(objects) + 1, "iscrowd": int(crowd)})
        scores = some.confidence.tolist()
        for box, class_id, score in zip(_xywh(some.xyxy), some.class_id, scores, strict=True):
            one = _entry(picture, int(class_id), box)
            reported.append({**one, "id": len(reported) + 1, "score": score})
    judged = {class_id: name for class_id, name in names.items() if _has(truths, class_id)}
    if not judged:
        raise DataError(f"no object of the classes to judge: {', '.join(names.values())}")
    # 2. (T, R, K, areas, limits): precision at T IoU thresholds and R recalls of K classes.
    images = [{"id": picture} for picture in range(1, len(truths) + 1)]
    categories = [{"id": class_id, "name": name} for class_id, name in judged.items()]
    with redirect_stdout(io.StringIO()):  # it prints its progress
        table = _index(images, categories, objects)
        run = COCOeval(table, _index(images, categories, reported), "bbox")
        run.params.catIds = [category["id"] for category in categories]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]  # (T, R, K): all sizes, 100 detections
    # 3. A mean over recalls is the area under the curve.
    area = precision.mean(1)  # (T, K)
    each = {
        name: Precision(float(area[:, k].mean()), float(area[0, k]))
        for k, name in enumerate(judged.values())
    }
    return Precision(float(area.mean()), float(area[0].mean())), each


def matched_classes(detector: Sequence[str], data: Sequence[str]) -> dict[int, int]:
    """Class ids of the data by those of the detector, where both know a class by the same name."""
    places = {name: place for place, name in enumerate(data)}
    return {index: places[name] for index, name in enumerate(detector) if name in places}


def in_classes_of(data: Mapping[int, int], found: Detections) -> Detections:
    """Detections with the class ids of the data; those of other classes are left out."""
    table = np.full(max(data, default=-1) + 1, -1, np.int64)  # (C,)
    table[list(data)] = list(data.values())
    known = found.take(found.class_id < len(table))
    class_id = table[known.class_id]
    known = Detections(known.xyxy, known.confidence, class_id)
    return known.take(class_id >= 0)


def _index(
    images: list[dict[str, Any]], categories: list[dict[str, Any]], boxes: list[dict[str, Any]]
) -> Any:
    table = COCO()
    table.dataset = {"images": images, "categories": categories, "annotations": boxes}
    table.createIndex()
    return table


def _entry(picture: int, class_id: int, box: list[float]) -> dict[str, Any]:
    return {
        "image_id": picture,
        "category_id": class_id,
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
    }


def _xywh(xyxy: Boxes) -> list[list[float]]:
    boxes: list[list[float]] = np.concatenate((xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]), 1).tolist()
    return boxes


def _has(truths: Sequence[Truth], class_id: int) -> bool:
    return any(bool(((t.class_id == class_id) & ~t.ignored).any()) for t in truths)

"""Boxes that people drew, from a file in COCO's format.

Format: https://cocodataset.org/#format-data, object detection.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.vision.boxes import Boxes


@dataclass(frozen=True, slots=True)
class Truth:
    """The N objects of one picture.

    Attributes:
        xyxy: (N, 4) float32, pixels of the picture.
        class_id: (N,) int64, place in a list of class names that goes with it.
        ignored: (N,) bool, neither to be found nor to be left alone (a crowd).
    """

    xyxy: Boxes
    class_id: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Annotations:
    """Pictures and what is on them.

    Attributes:
        names: of the classes, in the order of their ids in the file.
        file_names: of the pictures, relative to their folder.
        sizes: (H, W) in pixels, or None where the file does not say.
        truths: what is on them; `Truth.class_id` is a place in `names`.
    """

    names: tuple[str, ...]
    file_names: tuple[str, ...]
    sizes: tuple[tuple[int, int] | None, ...]
    truths: tuple[Truth, ...]


class _Picture(msgspec.Struct):
    id: int
    file_name: str
    width: int = 0
    height: int = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _Object(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class _File(msgspec.Struct):
    images: list[_Picture]
    categories: list[_Category]
    annotations: list[_Object]


def read_annotations(path: Path) -> Annotations:
    """Read a file; boxes without area are left out.

    Raises:
        DataError: it cannot be read, or is not in COCO's format; the message says where.
    """
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no COCO file: {error}") from error
    categories = sorted(file.categories, key=lambda category: category.id)
    place = {category.id: index for index, category in enumerate(categories)}
    known = {picture.id for picture in file.images}
    if len(known) < len(file.images) or len(place) < len(categories):
        raise DataError(f"{path} gives two images or two categories the same id")
    found: defaultdict[int, list[_Object]] = defaultdict(list)
    for index, one in enumerate(file.annotations):
        if one.image_id not in known or one.category_id not in place:
            raise DataError(
                f"{path}: annotations[{index}] is of image {one.image_id} and category "
                f"{one.category_id}, one of which the file does not have"
            )
        if one.bbox[2] > 0 and one.bbox[3] > 0:
            found[one.image_id].append(one)
    return Annotations(
        names=tuple(category.name for category in categories),
        file_names=tuple(picture.file_name for picture in file.images),
        sizes=tuple((p.height, p.width) if p.height and p.width else None for p in file.images),
        truths=tuple(_truth(found[picture.id], place) for picture in file.images),
    )


def _truth(objects: list[_Object], place: dict[int, int]) -> Truth:
    xywh = np.array([one.bbox for one in objects], np.float32).reshape(-1, 4)  # (N, 4)
    return Truth(
        xyxy=np.concatenate((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), 1),
        class_id=np.array([place[one.category_id] for one in objects], np.int64),
        ignored=np.array([one.iscrowd for one in objects], np.bool_),
    )

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.errors import DataError
from models.vision.annotations import read_annotations

GOOD: dict[str, Any] = {
    "info": {"anything": 1},
    "images": [
        {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30},
        {"id": 3, "file_name": "b.jpg"},
    ],
    "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "person"}],
    "annotations": [
        {"image_id": 7, "category_id": 9, "bbox": [1, 2, 10, 20], "iscrowd": 1, "id": 5},
        {"image_id": 7, "category_id": 2, "bbox": [0.5, 0, 3, 4]},
        {"image_id": 7, "category_id": 2, "bbox": [0, 0, 0, 4]},
    ],
}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_file_without_pictures_is_empty(tmp_path: Path) -> None:
    data = read_annotations(
        write(tmp_path / "a.json", {"images": [], "categories": [], "annotations": []})
    )
    assert (data.names, data.file_names, data.truths) == ((), (), ())


def test_boxes_are_read_by_picture_and_classes_by_their_ids(tmp_path: Path) -> None:
    data = read_annotations(write(tmp_path / "a.json", GOOD))
    assert data.names == ("person", "dog")
    assert data.file_names == ("a.jpg", "b.jpg")
    assert data.sizes == ((30, 40), None)
    first, second = data.truths
    assert first.xyxy.tolist() == [[1, 2, 11, 22], [0.5, 0, 3.5, 4]]
    assert first.class_id.tolist() == [1, 0]
    assert first.ignored.tolist() == [True, False]
    assert second.xyxy.shape == (0, 4)


def changed(**parts: Any) -> dict[str, Any]:
    return {**GOOD, **parts}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "is no COCO file: Expected `object`"),
        ({}, "is no COCO file: Object missing required field"),
        (changed(annotations=[{"image_id": 7, "category_id": 2, "bbox": [1, 2]}]), "is no COCO"),
        (
            changed(annotations=[{"image_id": 8, "category_id": 2, "bbox": [1, 2, 3, 4]}]),
            r"annotations\[0\] is of image 8",
        ),
        (
            changed(annotations=[{"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}]),
            r"category 1, one of which",
        ),
        (changed(images=[*GOOD["images"], GOOD["images"][0]]), "the same id"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = write(tmp_path / "a.json", content)
    with pytest.raises(DataError, match=message) as refused:
        read_annotations(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_broken_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json cannot be read: No such file"):
        read_annotations(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(DataError, match=r"b\.json is no COCO file"):
        read_annotations(tmp_path / "b.json")

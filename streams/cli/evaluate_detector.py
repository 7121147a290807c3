"""`tocsin evaluate detector`: average precision on annotated pictures, or on drawn scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import cv2
import typer
from rich.console import Console
from rich.table import Table

from models.errors import DataError
from models.vision.annotations import Truth, read_annotations
from models.vision.boxes import Detections
from models.vision.detector import ObjectDetector
from models.vision.domain import REAL, SIMULATED
from models.vision.evaluation import (
    RANKED,
    Precision,
    average_precision,
    in_classes_of,
    matched_classes,
)
from models.vision.examples import TEST_WORLDS, SceneExamples
from models.vision.loading import load_detector, suits_torch
from models.vision.preprocess import Frame
from streams.cli.models import cache_of
from streams.cli.options import Report, write_report
from streams.cli.progress import progress_bar
from streams.cli.start import start
from streams.errors import SettingsError

_BATCH = 8
"""Pictures at a time: no more than these are in memory."""


def detector(
    *,
    weights: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A pulled network, or a weights file.")
    ],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the pictures.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Their boxes, in COCO's format.")
    ] = None,
    scenes: Annotated[
        int | None,
        typer.Option(min=1, help="That many scenes of the simulated street camera instead."),
    ] = None,
    classes: Annotated[
        str, typer.Option(metavar="NAME,...", help="Judge these classes only.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    backend: Annotated[
        Literal["auto", "onnx", "torch"], typer.Option(help="What runs the network.")
    ] = "auto",
    report: Report = None,
) -> None:
    """Print COCO's average precision, overall and by class.

    The detector's classes and those of the annotations are matched by name. Scenes are of worlds
    that no training draws; objects of which less than half is visible do not count.
    """
    settings = start()
    data = _data(images, annotations, scenes)
    path = cache_of(settings).resolve(weights, torch=suits_torch(device, backend))
    subject = load_detector(
        path, device=device, backend=backend, thresholds=RANKED, source=data.source
    )
    matched = matched_classes(subject.names, data.names)
    judged = _judged(classes, matched, subject.names, data)
    truths, detected = _detect(subject, data)
    found = [in_classes_of(matched, one) for one in detected]
    overall, each = average_precision(truths, found, judged)
    _show(overall, each)
    unknown = sorted(set(data.names) - {data.names[place] for place in matched.values()})
    if unknown and not classes:
        print(f"not judged, for the detector does not know them: {', '.join(unknown)}")
    result = {
        **asdict(overall),
        "classes": {name: asdict(precision) for name, precision in each.items()},
        "images": data.number,
        "weights": path.name,
        "size": list(subject.size),
    }
    write_report(report, result)


@dataclass(frozen=True, slots=True)
class _Data:
    """Pictures with their truths, read or drawn one at a time."""

    names: tuple[str, ...]
    number: int
    picture: Callable[[int], tuple[Frame, Truth]]
    source: str


def _data(images: Path | None, annotations: Path | None, scenes: int | None) -> _Data:
    """What to judge by.

    Raises:
        SettingsError: none or both of the two sources are named.
    """
    if scenes is not None and images is None and annotations is None:
        drawn = SceneExamples(scenes, first=TEST_WORLDS)

        def scene(index: int) -> tuple[Frame, Truth]:
            example = drawn[index]
            return example.image, example.truth

        return _Data(drawn.names, scenes, scene, SIMULATED)
    if scenes is not None or images is None or annotations is None:
        raise SettingsError("give --images and --annotations together, or --scenes")
    folder, read = images, read_annotations(annotations)

    def picture(index: int) -> tuple[Frame, Truth]:
        return _read(folder / read.file_names[index], read.sizes[index]), read.truths[index]

    return _Data(read.names, len(read.file_names), picture, REAL)


def _judged(
    wanted: str, matched: dict[int, int], known: Sequence[str], data: _Data
) -> dict[int, str]:
    """Names of the classes to judge, by the class ids of the data.

    Raises:
        SettingsError: one that was asked for is missing on either side, or none is on both.
    """
    shared = {data.names[place]: place for place in matched.values()}
    names = [name.strip() for name in wanted.split(",") if name.strip()] or list(shared)
    for name in names:
        if name not in shared:
            where = "annotations have" if name not in data.names else "detector has"
            there = data.names if name not in data.names else known
            raise SettingsError(f"no class is called {name!r}: the {where} {', '.join(there)}")
    if not names:
        raise SettingsError(
            f"the detector ({', '.join(known)}) and the annotations ({', '.join(data.names)}) "
            "have no class in common"
        )
    return {shared[name]: name for name in names}


def _detect(subject: ObjectDetector, data: _Data) -> tuple[list[Truth], list[Detections]]:
    truths: list[Truth] = []
    found: list[Detections] = []
    with progress_bar("pictures", data.number) as advance:
        for begin in range(0, data.number, _BATCH):
            batch = [data.picture(i) for i in range(begin, min(begin + _BATCH, data.number))]
            truths += [truth for _, truth in batch]
            found += subject.detect([frame for frame, _ in batch])
            advance(len(found), "")
    return truths, found


def _read(path: Path, size: tuple[int, int] | None) -> Frame:
    """Decode a picture.

    Raises:
        DataError: it is missing, is none, or is not the one whose boxes we have.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: --images is the folder that file_name is relative to")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{path} is no picture that can be decoded")
    height, width = picture.shape[:2]
    if size is not None and size != (height, width):
        raise DataError(
            f"{path} is {width} x {height} and was annotated at {size[1]} x {size[0]}: "
            "its boxes would be in the wrong places"
        )
    return picture  # type: ignore[return-value]


def _show(overall: Precision, each: dict[str, Precision]) -> None:
    table = Table("class", "AP", "AP50", box=None, pad_edge=False)
    for name, precision in (*sorted(each.items()), ("mean", overall)):
        table.add_row(name, f"{precision.ap:.4f}", f"{precision.ap50:.4f}")
    Console(highlight=False).print(table)

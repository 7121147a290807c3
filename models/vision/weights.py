"""Published detector weights: the table of what can be pulled, and what is known of each file.

All are official YOLOX weights, trained on COCO, from the release that the project's README names.
Weights of our own need no table: they carry a manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Format = Literal["onnx", "pth"]
"""``onnx`` runs on the CPU as it is; ``pth``, a legacy checkpoint, is for CUDA and for training."""
FORMATS: Final[tuple[Format, ...]] = ("onnx", "pth")

_RELEASE = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One published file.

    Attributes:
        name: of the file, in the release and in our cache.
        format: see `Format`.
        known: SHA-256 checksums, in hex, of the files that bear this name; empty if none is known.
    """

    name: str
    format: Format
    known: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"{_RELEASE}/{self.name}"


@dataclass(frozen=True, slots=True)
class Weights:
    """A detector that can be pulled.

    Attributes:
        name: as commands take it.
        size: (H, W) of the network's input in pixels.
        coco_ap: average precision on COCO val2017 as published, in percent.
        licence: SPDX identifier.
        files: by format.
    """

    name: str
    size: tuple[int, int]
    coco_ap: float
    licence: str
    files: Mapping[Format, WeightsFile]


def find(name: str) -> Weights | None:
    """The weights of that name (``yolox-nano``; underscores and capitals will do), if any."""
    return TABLE.get(name.lower().replace("_", "-"))


def _yolox(
    kind: str, side: int, ap: float, onnx: tuple[str, ...], pth: tuple[str, ...] = ()
) -> Weights:
    known: dict[Format, tuple[str, ...]] = {"onnx": onnx, "pth": pth}
    files = {form: WeightsFile(f"yolox_{kind}.{form}", form, known[form]) for form in FORMATS}
    return Weights(f"yolox-{kind}", (side, side), ap, "Apache-2.0", files)


# GitHub publishes no checksums for a release this old. Those below are what at least ten public
# projects that pin these files agree on; the release itself we have not downloaded. What fewer
# vouch for is left out, and is trusted on first use.
_ROWS = (
    _yolox(
        "nano",
        416,
        25.8,
        (
            "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
            # The same weights as torch 1.10 exports them: the file that our figures are made with.
            "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14",
        ),
        ("cd28f55fbbc1829f99d9ac9b38a16d259a22889739c8728ea877610201feff7b",),
    ),
    _yolox(
        "tiny",
        416,
        32.8,
        ("427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",),
    ),
    _yolox("s", 640, 40.5, ("c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",)),
    _yolox("m", 640, 46.9, ("21ff6cfdeb53b013bac2249599e55f00bff3cfdfdab37ed7a4620818c1d15b3f",)),
    _yolox("l", 640, 49.7, ("7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411",)),
)
TABLE: Final[Mapping[str, Weights]] = {row.name: row for row in _ROWS}

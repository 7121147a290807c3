"""Examples from a folder of pictures and a file with their boxes in COCO's format."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.vision.annotations import Annotations, read_annotations
from models.vision.examples import Example


class CocoExamples:
    """Some of the pictures of a folder, read when they are asked for."""

    def __init__(
        self, folder: Path, annotations: Annotations, chosen: Sequence[int], digest: str
    ) -> None:
        """Take those with the numbers `chosen`; `open_coco` makes these."""
        self.names = annotations.names
        self._folder, self._annotations = folder, annotations
        self._chosen, self._digest = tuple(chosen), digest

    @property
    def fingerprint(self) -> str:
        """Of the annotation file and of the part of it."""
        part = hashlib.sha256(np.asarray(self._chosen, np.int64).tobytes()).hexdigest()
        return f"coco {self._digest[:16]} part {part[:16]} of {len(self._chosen)}"

    def __len__(self) -> int:
        return len(self._chosen)

    def order(self, epoch: int, seed: int) -> npt.NDArray[np.int64]:
        """Shuffled anew in each epoch."""
        return np.random.default_rng([seed, 5, epoch]).permutation(len(self))

    def __getitem__(self, index: int) -> Example:
        number = self._chosen[index]
        path = self._folder / self._annotations.file_names[number]
        try:
            data = np.fromfile(path, np.uint8)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        # Boxes are of the pixels as they are stored, so a note on rotation must not turn them.
        how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(data, how) if len(data) else None
        if image is None:
            raise DataError(f"{path} is no picture that can be read: repair it or leave it out")
        return Example(image.astype(np.uint8, copy=False), self._annotations.truths[number])


def open_coco(
    folder: Path, annotations: Path, *, share: float, seed: int
) -> tuple[CocoExamples, CocoExamples]:
    """Part the pictures at random: those to learn from, and `share` of them to be judged by.

    Raises:
        DataError: the file cannot be read, or there is nothing to learn from.
    """
    read = read_annotations(annotations)
    digest = hashlib.sha256(annotations.read_bytes()).hexdigest()
    pictures, boxes = len(read.file_names), sum(len(truth.class_id) for truth in read.truths)
    if not read.names or not boxes:
        raise DataError(
            f"{annotations} has {pictures} images, {len(read.names)} categories and {boxes} boxes: "
            "there is nothing to learn from"
        )
    shuffled = np.random.default_rng([seed, 4]).permutation(pictures).tolist()
    held = round(share * pictures)
    if not 0 < held < pictures:
        raise DataError(
            f"{annotations} has {pictures} images: too few to hold {share:.0%} of them out"
        )
    parts = (shuffled[held:], shuffled[:held])
    learn, judge = (CocoExamples(folder, read, part, digest) for part in parts)
    return learn, judge

"""Files of the MOTChallenge layout: ground truth, given detections and a tracker's output.

A sequence is a folder with ``gt/gt.txt`` and ``det/det.txt``, and mostly a ``seqinfo.ini``. A line
is ``frame,id,left,top,width,height,confidence,...``, frames from 1. In the truth the seventh column
is a flag: boxes marked 0 do not count. Source: Leal-Taixé et al., MOTChallenge 2015, section 3.
"""

from __future__ import annotations

import configparser
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.errors import DataError
from models.vision.boxes import Boxes, Detections

GIVEN_DETECTIONS = "det/det.txt"
TRUTH = "gt/gt.txt"

_DEFAULT_FPS = 25.0
_COLUMNS = 7


@dataclass(frozen=True, slots=True)
class MotRows:
    """N boxes of one sequence, ordered by frame.

    Attributes:
        frame: (N,) int64, from 1.
        tracker_id: (N,) int64; -1 for detections.
        xyxy: (N, 4) float32 pixels.
        confidence: (N,) float32; the flag of the truth.
    """

    frame: npt.NDArray[np.int64]
    tracker_id: npt.NDArray[np.int64]
    xyxy: Boxes
    confidence: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.frame)

    def of_frame(self, frame: int) -> slice:
        """Where the boxes of one frame are."""
        return slice(*np.searchsorted(self.frame, (frame, frame + 1)).tolist())

    def detections(self, frame: int) -> Detections:
        """Of one frame, all of class 0; confidences are clipped to [0, 1]."""
        rows = self.of_frame(frame)
        confidence = np.clip(self.confidence[rows], 0.0, 1.0)
        return Detections(self.xyxy[rows], confidence, np.zeros(len(confidence), np.int64))

    def take(self, index: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> MotRows:
        """Those of a mask (N,) or of indices."""
        return MotRows(
            self.frame[index], self.tracker_id[index], self.xyxy[index], self.confidence[index]
        )


@dataclass(frozen=True, slots=True)
class MotSequence:
    """One sequence: its name, length in frames, frames a second, truth and detections."""

    name: str
    frames: int
    fps: float
    truth: MotRows
    detections: MotRows


def mot_rows(
    frame: npt.ArrayLike, tracker_id: npt.ArrayLike, xyxy: npt.ArrayLike, confidence: npt.ArrayLike
) -> MotRows:
    """Rows in any order, as arrays of the right kind, ordered by frame."""
    rows = MotRows(
        np.asarray(frame, np.int64).reshape(-1),
        np.asarray(tracker_id, np.int64).reshape(-1),
        np.asarray(xyxy, np.float32).reshape(-1, 4),
        np.asarray(confidence, np.float32).reshape(-1),
    )
    return rows.take(np.argsort(rows.frame, kind="stable"))


def read_sequences(folder: Path, detections: str = GIVEN_DETECTIONS) -> list[MotSequence]:
    """All sequences in `folder`, by name; `folder` may itself be one.

    Args:
        folder: with one folder a sequence.
        detections: file of the detections, relative to a sequence's folder.

    Raises:
        DataError: no sequence is there, or a file is missing or malformed.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give one that holds MOTChallenge sequences")
    inside = sorted(path for path in folder.iterdir() if (path / TRUTH).is_file())
    found = [folder] if (folder / TRUTH).is_file() else inside
    if not found:
        raise DataError(f"{folder} holds no sequence: expected {folder}/NAME/{TRUTH}")
    return [_read_sequence(path, detections) for path in found]


def read_truth(path: Path) -> MotRows:
    """The boxes of a gt.txt that count.

    Raises:
        DataError: the file is missing or malformed, has no box that counts, or a track twice in one
            frame.
    """
    rows = read_rows(path)
    rows = rows.take(rows.confidence > 0)
    if not len(rows):
        raise DataError(f"{path} has no box that counts: its seventh column is 0 everywhere")
    pairs = np.stack([rows.frame, rows.tracker_id], 1)
    unique, count = np.unique(pairs, axis=0, return_counts=True)
    if (count > 1).any():
        frame, track = unique[count.argmax()].tolist()
        raise DataError(f"{path} has track {track} more than once in frame {frame}")
    return rows


def read_rows(path: Path) -> MotRows:
    """The boxes of a file in MOTChallenge format.

    Raises:
        DataError: it is missing, unreadable, or a line is not seven or more finite numbers.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # an empty file has no boxes: no warning
            table = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or 'no such file'}") from None
    except ValueError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path} is not in MOTChallenge format: {reason}") from None
    if table.size == 0:
        return mot_rows([], [], [], [])
    if table.shape[1] < _COLUMNS:
        raise DataError(f"{path} has {table.shape[1]} columns, expected {_COLUMNS} or more")
    table = table[:, :_COLUMNS]
    bad = ~np.isfinite(table).all(1) | (table[:, 0] < 1) | (table[:, 4:6] < 0).any(1)
    if bad.any():
        line = int(bad.argmax()) + 1
        raise DataError(f"{path}, box {line}: a value is not finite, a frame below 1 or a size < 0")
    corners = np.concatenate([table[:, 2:4], table[:, 2:4] + table[:, 4:6]], 1)
    return mot_rows(table[:, 0], table[:, 1], corners, table[:, 6])


def _read_sequence(path: Path, detections: str) -> MotSequence:
    truth, found = read_truth(path / TRUTH), read_rows(path / detections)
    frames, fps = _read_info(path / "seqinfo.ini")
    last = int(max(truth.frame.max(), found.frame.max(initial=0)))
    return MotSequence(path.name, max(frames, last), fps, truth, found)


def _read_info(path: Path) -> tuple[int, float]:
    """Length and frames a second as far as they are known."""
    if not path.is_file():
        return 0, _DEFAULT_FPS
    info = configparser.ConfigParser()
    try:
        info.read(path, encoding="utf-8")
        frames = info.getint("Sequence", "seqLength", fallback=0)
        fps = info.getfloat("Sequence", "frameRate", fallback=_DEFAULT_FPS)
    except (configparser.Error, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"cannot read {path}: {reason}") from None
    if not 0 < fps < np.inf:
        raise DataError(f"{path}: frameRate is {fps}, expected more than 0")
    return frames, fps

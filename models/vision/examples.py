"""What a detector learns from and is judged by: pictures with boxes, drawn by us for the most part.

Scenes come from worlds of their own, a few moments of each. Worlds below
`TRAINING_WORLDS` are left to cameras, so that no camera shows what its detector has learned.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.vision.annotations import Truth
from models.vision.preprocess import Frame
from models.vision.scenes import CLASS_NAMES, StreetCamera
from models.vision.scenes.light import DAY_S

TRAINING_WORLDS = 1_000_000
HELD_OUT_WORLDS = 500_000_000
"""Of the figures in a manifest, and never learned from."""
TEST_WORLDS = 1_000_000_000
"""Of an evaluation by hand, and never looked at by training."""

HARD = 0.5
"""Visible share below which finding an object is neither demanded nor punished."""

_TOGETHER, _MOMENTS = 16, 4


@dataclass(frozen=True, slots=True)
class Example:
    """A picture, (H, W, 3) uint8, BGR, and what is on it."""

    image: Frame
    truth: Truth


class Examples(Protocol):
    """A fixed list of examples, read or drawn when one is asked for."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes; `Truth.class_id` is a place in it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal for equal lists: a resumed training must go on with the data it began with."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def order(self, epoch: int, seed: int) -> npt.NDArray[np.int64]:
        """(N,) in which order to learn from them; the same for the same numbers."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Read or draw one, the same for the same index.

        Raises:
            DataError: its picture cannot be read.
        """
        ...


class SceneExamples:
    """Scenes of the simulated street camera."""

    names = CLASS_NAMES

    def __init__(self, number: int, *, first: int = TRAINING_WORLDS, hard: float = HARD) -> None:
        """Name the worlds.

        Args:
            number: of scenes.
            first: seed of the first world.
            hard: objects with less than that share visible are ignored.
        """
        self._number, self._first, self._hard = number, first, hard
        self._cameras: dict[int, StreetCamera] = {}

    @property
    def fingerprint(self) -> str:
        """Of the seeds, and of what the first of them looks like in this version."""
        drawn = hashlib.sha256(self[0].image.tobytes()).hexdigest() if self._number else ""
        return f"scenes {self._first}+{self._number} hard {self._hard} first {drawn[:16]}"

    def __len__(self) -> int:
        return self._number

    def order(self, epoch: int, seed: int) -> npt.NDArray[np.int64]:
        """As they are numbered: each is as random as any other, and neighbours share no world."""
        del epoch, seed
        return np.arange(self._number)

    def __getitem__(self, index: int) -> Example:
        """Draw a scene: 4 moments of each of `_TOGETHER` worlds, then of the next ones."""
        if not 0 <= index < self._number:
            raise IndexError(index)
        block, place = divmod(index, _TOGETHER * _MOMENTS)
        moment, world = divmod(place, _TOGETHER)
        seed = self._first + block * _TOGETHER + world
        t = float(np.random.default_rng([seed, 9, moment]).uniform(0.0, DAY_S))
        image, truth = self._camera(seed).frame(t)
        ignored = truth.visible < self._hard
        return Example(image, Truth(truth.xyxy, truth.class_id, ignored))

    def _camera(self, seed: int) -> StreetCamera:
        """A world costs as much as two frames of it, so the last ones are kept."""
        if seed not in self._cameras:
            if len(self._cameras) >= _TOGETHER:
                del self._cameras[next(iter(self._cameras))]
            self._cameras[seed] = StreetCamera(seed)
        return self._cameras[seed]

"""The device's thread: one batch goes through the network while the one before it is followed.

Following is Python and the network is not, so the two share a machine well; on one thread, one core
of two stood idle for as long as a batch was followed.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from models.vision.detector import ObjectDetector, Outputs
from models.vision.preprocess import PADDING, Letterboxed
from streams.pipeline.batch import CameraKey
from streams.pipeline.frames import Intake
from streams.pipeline.lapse import Lapses


@dataclass(frozen=True, slots=True)
class Seen:
    """The frames of a batch that were fresh enough, and what the network made of them."""

    canvas: Letterboxed
    outputs: Outputs
    begun: float
    """When their age was looked at, seconds of `time.perf_counter`."""

    spent_s: float
    """In the network."""


class DeviceThread:
    """Runs the network, in the order in which batches come.

    Args:
        network: of which this is the only user, but for `pre` and `post`.
        lapses: skip what has grown too old since it was prepared; used by this thread alone.
    """

    def __init__(self, network: ObjectDetector, lapses: Lapses) -> None:
        self._network, self._lapses = network, lapses
        self._thread = ThreadPoolExecutor(1, "detect")
        self._costs: deque[tuple[int, float]] = deque()

    def look(
        self, intake: Intake, canvas: Letterboxed | None, forgotten: Iterable[CameraKey]
    ) -> Future[Seen | None]:
        """Have a batch go through the network; None comes of it where nothing is to be looked at.

        Args:
            intake: of the batch; once the future is done, without the frames that had grown old.
            canvas: the frames of `intake` that are neither still nor a camera's last word.
            forgotten: cameras of which nothing is known any more.
        """
        return self._thread.submit(self._look, intake, canvas, forgotten)

    def probe(self) -> None:
        """Look at a grey picture; raises whatever a batch would."""
        grey = np.full((*self._network.size, 3), PADDING, np.uint8)
        self._thread.submit(self._network.detect, [grey]).result()

    def followed(self, seen: Seen) -> None:
        """Note that a batch is done with: what it took says how old the next ones may be."""
        self._costs.append((len(seen.canvas), time.perf_counter() - seen.begun))

    def _look(
        self, intake: Intake, canvas: Letterboxed | None, forgotten: Iterable[CameraKey]
    ) -> Seen | None:
        while self._costs:
            self._lapses.spent(*self._costs.popleft())
        self._lapses.forget(forgotten)
        begun = time.perf_counter()
        canvas = self._lapses.sift(intake, canvas)
        if canvas is None:
            return None
        outputs = self._network.core(canvas)
        return Seen(canvas, outputs, begun, time.perf_counter() - begun)

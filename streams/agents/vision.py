"""The vision agent: frames in, object alerts out.

`VisionDetector` holds the two halves of the data path as `streams.pipeline.delivery` runs them:
`prepare` on one thread, `infer` on another, one batch behind. What a camera's frames bring about
depends on which of them were fresh and moved, so a replay would not bring it about again: alerts
are held until the flush has stored them with the tracks that they follow from.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.vision.boxes import Detections
from models.vision.detector import ObjectDetector
from models.vision.preprocess import PADDING, Letterboxed
from streams.frame_metrics import FrameMetrics
from streams.pipeline.batch import Batch, CameraKey, Outcome
from streams.pipeline.cameras import CameraPasts, Changes
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decode import Rejected
from streams.pipeline.follow import Follower
from streams.pipeline.frames import FrameIntake, Intake
from streams.pipeline.lapse import Lapses
from streams.state.store import PartitionSnapshot


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch between its two halves."""

    intake: Intake
    changes: Changes
    canvas: Letterboxed | None
    """The frames that are neither still nor a camera's last word, in their order."""

    outcome: Outcome
    silent: Mapping[CameraKey, float]


class VisionDetector:
    """Finds objects, follows them, and tells what the rules make of it.

    See `streams.pipeline.batch.Detector` for the contract of each method.
    """

    def __init__(
        self,
        *,
        intake: FrameIntake,
        pasts: CameraPasts,
        lapses: Lapses,
        network: ObjectDetector,
        follower: Follower,
        dead_letters: DeadLetters,
        metrics: FrameMetrics,
    ) -> None:
        self._intake, self._pasts, self._network = intake, pasts, network
        self._lapses, self._follower = lapses, follower
        self._dead_letters, self._metrics = dead_letters, metrics

    def prepare(self, batch: Batch) -> Prepared:
        """Check and decode frames, skip those that nobody needs, letterbox the rest."""
        # 1. First fates.
        self._pasts.begin(batch.sequence)
        for partition, camera in batch.silent:
            self._pasts.of(camera, partition)
        intake = self._intake.take(batch)
        outcome = self._dead_letters.outcome(batch, intake.rejected)
        outcome.replayed = intake.replayed
        outcome.events = len(intake.frames) + len(intake.skipped)

        # 2. What the network will see.
        moving = [f.picture for f in intake.frames if f.picture is not None and not f.is_still]
        canvas = self._network.pre(moving) if moving else None
        return Prepared(intake, self._pasts.changes(), canvas, outcome, batch.silent)

    def infer(self, prepared: Prepared) -> Outcome:
        """Find objects in all frames at once, then follow them camera by camera.

        What has grown too old since it was prepared is skipped.
        """
        self._follower.apply(prepared.changes)
        self._lapses.forget(prepared.changes.forgotten)
        begun = time.perf_counter()
        canvas = self._lapses.sift(prepared.intake, prepared.canvas)
        found = self._detect(canvas, prepared.outcome)
        self._follower.follow(prepared.intake, found, prepared.outcome)
        self._follower.close_silent(prepared.silent, prepared.outcome)
        if canvas is not None:
            self._lapses.spent(len(canvas), time.perf_counter() - begun)
        return prepared.outcome

    def probe(self) -> None:
        """Look at a grey picture."""
        grey = np.full((*self._network.size, 3), PADDING, np.uint8)
        self._network.detect([grey])

    def reject(self, batch: Batch, reason: str) -> Outcome:
        """Bury frames that cannot be looked at."""
        everything = [Rejected(place, reason) for place in range(len(batch.records))]
        outcome = self._dead_letters.outcome(batch, everything, step="detect")
        outcome.tallies.append(partial(self._metrics.count, {(None, "rejected"): len(everything)}))
        return outcome

    def freeze(self, sequence: int) -> Changes:
        """Nothing but news: the watches belong to the inference thread, which packs them."""
        del sequence
        return self._pasts.changes()

    def pack(self, frozen: Changes, markers: Mapping[int, int]) -> Iterable[PartitionSnapshot]:
        """Encode the cameras that were watched, and the alerts that wait for this flush."""
        self._follower.apply(frozen)
        return self._follower.pack(markers)

    def flushed(self, sequence: int) -> None:
        """Cameras up to batch `sequence` may be forgotten."""
        self._pasts.flushed(sequence)

    def drop(self, partitions: set[int] | None) -> None:
        """Forget cameras; the inference thread learns of it with the next batch or flush."""
        self._pasts.drop(partitions)

    def known(self, partitions: Iterable[int]) -> Changes:
        """See `streams.pipeline.batch.CameraWatcher`."""
        self._pasts.begin_partitions(partitions)
        return self._pasts.changes()

    def silent(self, known: Changes, read_to: Mapping[int, float]) -> Mapping[CameraKey, float]:
        """See `streams.pipeline.batch.CameraWatcher`."""
        self._follower.apply(known)
        return self._follower.hearing.silent(read_to)

    def _detect(self, canvas: Letterboxed | None, outcome: Outcome) -> list[Detections]:
        if canvas is None:
            return []
        begun = time.perf_counter()
        found = self._network.post(self._network.core(canvas), canvas)
        spent_s = time.perf_counter() - begun
        outcome.tallies.append(partial(self._metrics.detected, len(canvas), spent_s))
        return found

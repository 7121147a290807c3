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

from models.vision.boxes import Detections
from models.vision.detector import ObjectDetector
from models.vision.preprocess import Letterboxed
from models.vision.tracker import TrackerConfig
from streams.frame_metrics import FrameMetrics
from streams.pipeline.batch import Batch, Message, Outcome
from streams.pipeline.cameras import CameraPasts, CameraWatches, Changes
from streams.pipeline.dead_letter import DeadLetters
from streams.pipeline.decode import Rejected
from streams.pipeline.frames import Frame, FrameIntake, Intake
from streams.pipeline.rulebooks import RuleBooks
from streams.pipeline.tell import AlertTeller
from streams.pipeline.watch import scaled
from streams.state.store import PartitionSnapshot


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch between its two halves."""

    intake: Intake
    changes: Changes
    canvas: Letterboxed | None
    """The frames that are neither still nor a camera's last word, in their order."""

    outcome: Outcome


class VisionDetector:
    """Finds objects, follows them, and tells what the rules make of it.

    See `streams.pipeline.batch.Detector` for the contract of each method.
    """

    def __init__(
        self,
        *,
        intake: FrameIntake,
        pasts: CameraPasts,
        network: ObjectDetector,
        tracking: TrackerConfig,
        rules: RuleBooks,
        teller: AlertTeller,
        dead_letters: DeadLetters,
        metrics: FrameMetrics,
    ) -> None:
        self._intake, self._pasts, self._network = intake, pasts, network
        self._tracking, self._rules, self._teller = tracking, rules, teller
        self._dead_letters, self._metrics = dead_letters, metrics
        self._watches = CameraWatches()

    def prepare(self, batch: Batch) -> Prepared:
        """Check and decode frames, skip those that nobody needs, letterbox the rest."""
        # 1. First fates.
        self._pasts.begin(batch.sequence)
        intake = self._intake.take(batch)
        outcome = self._dead_letters.outcome(batch, intake.rejected)
        outcome.replayed = intake.replayed
        outcome.events = len(intake.frames) + len(intake.skipped)

        # 2. What the network will see.
        moving = [f.picture for f in intake.frames if f.picture is not None and not f.is_still]
        canvas = self._network.pre(moving) if moving else None
        return Prepared(intake, self._pasts.changes(), canvas, outcome)

    def infer(self, prepared: Prepared) -> Outcome:
        """Find objects in all frames at once, then follow them camera by camera."""
        # 1. What the other thread has learned of cameras since the last batch.
        forgotten = self._watches.apply(prepared.changes)
        self._metrics.forget(forgotten)
        self._rules.forget(forgotten)
        self._rules.refresh()

        # 2. Objects.
        found = iter(self._detect(prepared.canvas))

        # 3. Tracks, rules, alerts, in the order of each camera's frames.
        outcome = prepared.outcome
        for frame in prepared.intake.frames:
            seen = None if frame.is_still or frame.is_down else next(found)
            for message in self._follow(frame, seen):
                outcome.held.append(message)
                self._watches.hold(frame.partition, message)
        self._count(prepared.intake)
        return outcome

    def reject(self, batch: Batch, reason: str) -> Outcome:
        """Bury frames that cannot be looked at."""
        everything = [Rejected(place, reason) for place in range(len(batch.records))]
        return self._dead_letters.outcome(batch, everything, step="detect")

    def freeze(self, sequence: int) -> Changes:
        """Nothing but news: the watches belong to the inference thread, which packs them."""
        del sequence
        return self._pasts.changes()

    def pack(self, frozen: Changes, markers: Mapping[int, int]) -> Iterable[PartitionSnapshot]:
        """Encode the cameras that were watched, and the alerts that wait for this flush."""
        self._metrics.forget(self._watches.apply(frozen))
        return self._watches.pack(markers)

    def flushed(self, sequence: int) -> None:
        """Cameras up to batch `sequence` may be forgotten."""
        self._pasts.flushed(sequence)

    def drop(self, partitions: set[int] | None) -> None:
        """Forget cameras; the inference thread learns of it with the next batch or flush."""
        self._pasts.drop(partitions)

    def _detect(self, canvas: Letterboxed | None) -> list[Detections]:
        if canvas is None:
            return []
        begun = time.perf_counter()
        found = self._network.post(self._network.core(canvas), canvas)
        self._metrics.detected(len(canvas), time.perf_counter() - begun)
        return found

    def _follow(self, frame: Frame, found: Detections | None) -> list[Message]:
        """Take a frame into its camera's watch; `found` is None where nothing is new in it."""
        watch, book = self._watches.of(frame.camera, frame.partition), self._rules.of(frame.camera)
        captured_at, messages = frame.headers.captured_at, []
        # 1. What cannot go on ends, as of the last frame that was seen.
        if (why := "the camera is down" if frame.is_down else frame.broken) is not None:
            ended = watch.close(book, why)
            messages = self._teller.tell(frame, watch.alerts, ended)
        self._metrics.seen(frame.camera, captured_at, up=not frame.is_down)
        if frame.picture is None:
            return messages
        # 2. What is there goes on, or begins.
        if found is not None:
            found = scaled(found, frame.picture.shape[:2], frame.shape)
        sight = watch.look(
            found, book, time_ms=captured_at, shape=frame.shape, config=self._tracking
        )
        return messages + self._teller.tell(frame, watch.alerts, sight.events, sight.tracks)

    def _count(self, intake: Intake) -> None:
        for frame in intake.frames:
            if frame.picture is not None:
                self._metrics.count(frame.camera, "still" if frame.is_still else "detected")
        for camera, why in intake.skipped:
            self._metrics.count(camera, why)
        self._metrics.count_unknown("rejected", len(intake.rejected))
        self._metrics.count_unknown("replayed", intake.replayed)

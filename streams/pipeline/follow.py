"""The second half of a frame: its objects go into its camera's watch, and come out as messages."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from functools import partial

from models.vision.boxes import Detections
from models.vision.tracker import TrackerConfig
from streams.frame_metrics import Fate, FrameMetrics
from streams.pipeline.batch import CameraKey, Message, Outcome
from streams.pipeline.cameras import CameraWatches, Changes
from streams.pipeline.frames import Frame, Intake
from streams.pipeline.rulebooks import RuleBooks
from streams.pipeline.silence import Hearing
from streams.pipeline.tell import AlertTeller
from streams.pipeline.tracks import TrackTeller
from streams.pipeline.watch import Sight, scaled
from streams.state.store import PartitionSnapshot


class Follower:
    """Follows what is before all cameras. The inference thread calls it.

    Args:
        tracking: thresholds of the tracker.
        rules: of every camera.
        alerts: says what they make of it.
        tracks: says what is in every frame, for whoever wants to know; None says nothing.
        hearing: knows which cameras are silent.
        metrics: counts frames by what became of them.
    """

    def __init__(
        self,
        *,
        tracking: TrackerConfig,
        rules: RuleBooks,
        alerts: AlertTeller,
        tracks: TrackTeller | None,
        hearing: Hearing,
        metrics: FrameMetrics,
    ) -> None:
        self._tracking, self._rules = tracking, rules
        self._alerts, self._tracks, self._metrics = alerts, tracks, metrics
        self.watches, self.hearing = CameraWatches(), hearing

    def apply(self, changes: Changes) -> None:
        """Learn of cameras that came, went or are to be forgotten."""
        forgotten = self.watches.apply(changes)
        self._metrics.forget(forgotten)
        self._rules.forget(forgotten)
        self.hearing.leave(changes.left)
        for key in changes.forgotten:
            if not self.watches.is_open(key):
                self.hearing.forget(key)
        for partition, cameras in changes.opened.items():
            self.hearing.expect({(partition, name): at for name, at in cameras.items()})

    def pack(self, markers: Mapping[int, int]) -> list[PartitionSnapshot]:
        """Encode what changed since the last call; see `CameraWatches.pack`."""
        return self.watches.pack(markers, self.hearing.seen_ms)

    def close_silent(self, silent: Mapping[CameraKey, float], outcome: Outcome) -> None:
        """End what goes on before cameras of which nothing was seen since the times given."""
        for key, since in silent.items():
            if not self.hearing.is_silent_since(key, since):
                continue
            partition, camera = key
            self.hearing.forget(key)
            watch = self.watches.of(camera, partition)
            self._metrics.seen(camera, watch.time_ms or 0, up=False)
            why = f"nothing of it was seen for {self.hearing.after_s:g} s"
            events = watch.close(self._rules.of(camera), why)
            for message in self._alerts.tell_without_frame(camera, watch.alerts, events):
                outcome.held.append(message)
                self.watches.hold(partition, message)

    def follow(self, intake: Intake, found: list[Detections], outcome: Outcome) -> None:
        """Take the frames of a batch in, in their order.

        Args:
            intake: the frames.
            found: objects of those that are neither still nor word of a camera that is down, in
                pixels of the picture as it was decoded.
            outcome: takes what is to be published: alerts are held, for a replay that sees other
                frames would not raise them again.
        """
        self._rules.refresh()
        objects = iter(found)
        for frame in intake.frames:
            seen = None if frame.is_still or frame.is_down else next(objects)
            for message in self._one(frame, seen, outcome):
                outcome.held.append(message)
                self.watches.hold(frame.partition, message)
        self._count(intake, outcome)

    def _one(self, frame: Frame, found: Detections | None, outcome: Outcome) -> list[Message]:
        """Take one frame in; `found` is None where nothing is new in it."""
        watch, book = self.watches.of(frame.camera, frame.partition), self._rules.of(frame.camera)
        messages: list[Message] = []
        # 1. What cannot go on ends, as of the last frame that was seen.
        if (why := "the camera is down" if frame.is_down else frame.broken) is not None:
            messages = self._alerts.tell(frame, watch.alerts, watch.close(book, why))
        self._metrics.seen(frame.camera, frame.headers.captured_at, up=not frame.is_down)
        key = frame.partition, frame.camera
        if frame.picture is None:
            self.hearing.forget(key)
            return messages
        self.hearing.heard(key)
        # 2. What is there goes on, or begins.
        if found is not None:
            found = scaled(found, frame.picture.shape[:2], frame.shape)
        sight: Sight = watch.look(
            found,
            book,
            time_ms=frame.headers.captured_at,
            shape=frame.shape,
            config=self._tracking,
        )
        if self._tracks is not None:
            outcome.messages.append(self._tracks.tell(frame, sight))
        return messages + self._alerts.tell(frame, watch.alerts, sight.events, sight.tracks)

    def _count(self, intake: Intake, outcome: Outcome) -> None:
        fates: Counter[tuple[str | None, Fate]] = Counter()
        ages_ms, now_ms = [], time.time() * 1000
        for frame in intake.frames:
            if frame.picture is not None:
                fates[frame.camera, "still" if frame.is_still else "detected"] += 1
                ages_ms.append(now_ms - frame.headers.captured_at)
        fates.update(intake.skipped)
        fates[None, "rejected"] += len(intake.rejected)
        fates[None, "replayed"] += intake.replayed
        outcome.tallies.append(partial(self._metrics.count, fates))
        outcome.tallies.append(partial(self._metrics.done, ages_ms))

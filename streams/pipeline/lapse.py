"""The last look before the network: what has grown too old while it waited is not detected.

Frames are fresh when they are read, but batches wait for one another, and a machine that other
work slows down may take seconds for one. So the age is held, as well as can be foreseen, for the
moment at which a frame is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from models.vision.preprocess import Letterboxed
from streams.pipeline.frames import Frame, Intake
from streams.pipeline.freshness import FrameRules

FADE: Final = 0.8
"""What a frame costs falls by this from batch to batch and rises at once: a slow moment that is
forgotten too soon lets the next batch be late."""


SPARE: Final = 0.9
"""Share of the age within which a frame is to be done: the rest is for what nobody foresees."""


class Lapses:
    """Takes out of batches what would not be done in time. The inference thread calls it.

    Args:
        rules: what is fresh.
        clock: now, in ms.
    """

    def __init__(
        self, rules: FrameRules, clock: Callable[[], float] = lambda: time.time() * 1000
    ) -> None:
        self._rules, self._clock = rules, clock
        self._cost_ms = 0.0
        self._catching_up = False
        # Cameras of which the last frame that moved has lapsed, and why it was not to continue the
        # one before: for the next one that is detected.
        self._lapsed: dict[tuple[int, str], str | None] = {}

    def spent(self, frames: int, seconds: float) -> None:
        """Note what a batch of `frames` frames, at least one, took."""
        self._cost_ms = max(1000 * seconds / frames, FADE * self._cost_ms)

    def forget(self, cameras: Iterable[tuple[int, str]]) -> None:
        """Forget cameras, by partition and id."""
        for key in cameras:
            self._lapsed.pop(key, None)

    def sift(self, intake: Intake, canvas: Letterboxed | None) -> Letterboxed | None:
        """Skip the frames of `intake` that are too old; return what is left of `canvas`.

        Once some are, the rest must be done within half the age until none is, or every frame
        would come as late as it may. A still frame shows what its reference showed: where that has
        lapsed, nobody has seen it.
        """
        if self._rules.keep_all:
            return canvas
        now, limit = self._clock(), self._rules.max_age_ms
        moving = [frame for frame in intake.frames if frame.picture is not None]
        moving = [frame for frame in moving if not frame.is_still]
        ages = [now - frame.headers.captured_at for frame in moving]
        within = SPARE * limit / (2 if self._catching_up else 1)
        kept = in_time(ages, self._cost_ms, within)
        # Never for long: what a slow moment cost is forgotten, and nobody waits for half the age
        # where it is never reached.
        self._catching_up = 0 < len(kept) < len(ages)
        if not kept:
            self._cost_ms *= FADE
        fresh = {moving[place].place for place in kept}
        frames = []
        for frame in intake.frames:
            if frame.is_down:
                frames.append(frame)
            elif not self._is_in_time(frame, fresh, now - limit):
                intake.skipped.append((frame.camera, "stale"))
            elif frame.is_still:
                frames.append(frame)
            else:
                lapsed = self._lapsed.pop((frame.partition, frame.camera), None)
                frames.append(replace(frame, broken=lapsed or frame.broken))
        intake.frames = frames
        if canvas is None or len(kept) == len(canvas):
            return canvas
        return canvas.take(kept) if kept else None

    def _is_in_time(self, frame: Frame, fresh: set[int], earliest: float) -> bool:
        key = frame.partition, frame.camera
        if frame.is_still:
            return key not in self._lapsed and frame.headers.captured_at >= earliest
        if frame.place not in fresh:
            self._lapsed[key] = self._lapsed.get(key) or frame.broken
            return False
        return True


def in_time(ages_ms: Sequence[float], cost_ms: float, max_age_ms: float) -> list[int]:
    """Return the places, rising, of the frames that can be done within `max_age_ms`.

    As many as can, the freshest first, each at `cost_ms`. One alone is let through at half of the
    age, however much it costs: a slow machine would detect nothing ever.
    """
    freshest_first = sorted(range(len(ages_ms)), key=ages_ms.__getitem__)
    for count, place in enumerate(freshest_first, 1):
        ahead = count * cost_ms if count > 1 else min(cost_ms, max_age_ms / 2)
        if ages_ms[place] + ahead > max_age_ms:
            return sorted(freshest_first[: count - 1])
    return list(range(len(ages_ms)))

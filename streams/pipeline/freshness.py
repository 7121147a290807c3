"""Which frames are worth looking at: the freshest, in order, and no more than can be of use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["take", "late", "stale", "too often"]

MAX_GAP_MS = 10_000
"""After a longer gap, or a longer jump back of the clock, what was followed cannot be again."""


@dataclass(frozen=True, slots=True)
class FrameRules:
    """The policy. Times in ms."""

    keep_all: bool
    """Skip nothing for its age or rate; late frames are skipped all the same."""

    max_age_ms: float
    max_fps: float

    @property
    def min_step_ms(self) -> float:
        """Frames of a camera nearer to each other than this are too often; a tenth of slack."""
        return 900.0 / self.max_fps


@dataclass(slots=True)
class Passage:
    """What is known of one camera's frames so far."""

    newest: int | None = None
    """Capture time of the newest frame that was not late."""

    taken: int | None = None
    """Capture time of the last frame that was taken."""

    catching_up: bool = False

    broken: str | None = None
    """Why the next frame that is taken cannot continue the last one; whoever acts on it clears
    it."""

    def decide(self, captured_at: int, now_ms: int, rules: FrameRules) -> Fate:
        """Decide about the camera's next frame, in the order in which frames arrive.

        A frame that is older than the one before it is late: the world has moved on. Once frames
        are stale they are skipped until half the age is reached, so that those taken then are
        still fresh when the network comes to them.
        """
        if self.newest is not None and captured_at < self.newest:
            if captured_at >= self.newest - MAX_GAP_MS:
                return "late"
            self.broken, self.taken = "the camera's clock was set back", None
        elif self.taken is not None and captured_at > self.taken + MAX_GAP_MS:
            self.broken, self.taken = "no picture came for a while", None
        self.newest = captured_at
        if not rules.keep_all:
            age_ms = now_ms - captured_at
            limit_ms = rules.max_age_ms / 2 if self.catching_up else rules.max_age_ms
            self.catching_up = age_ms > limit_ms
            if self.catching_up:
                return "stale"
            if self.taken is not None and captured_at - self.taken < rules.min_step_ms:
                return "too often"
        self.taken = captured_at
        return "take"

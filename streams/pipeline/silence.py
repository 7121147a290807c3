"""Cameras that fall silent: nobody says that they are down, so the clock must.

A camera's own time stands still with its frames, and what goes on before it would go on for ever.
The time here is the workers', and only as far as one has read: what it has not read yet may hold
the camera's frames.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from streams.pipeline.batch import CameraKey, CameraWatcher
from streams.pipeline.delivery import Delivery
from streams.pipeline.lane import Aborted, Lane

Clock = Callable[[], float]

LOOK_EVERY_S: Final = 1.0


class Hearing:
    """When something was last seen of each camera. Used by the inference thread.

    Args:
        after_s: a camera of which nothing was seen for so long is silent.
        clock: seconds, the same as that of `ReadTo`.
        wall: seconds since the epoch, for what one worker tells the next.
    """

    def __init__(
        self, after_s: float, clock: Clock = time.monotonic, wall: Clock = time.time
    ) -> None:
        self.after_s, self._clock, self._wall = after_s, clock, wall
        self._heard: dict[CameraKey, float] = {}

    def heard(self, key: CameraKey) -> None:
        """Note that a frame of a camera was looked at."""
        self._heard[key] = self._clock()

    def expect(self, seen_ms: Mapping[CameraKey, int]) -> None:
        """Wait for cameras whose alerts an earlier worker left open.

        Their silence goes on from when that worker saw them (ms, its clock): it would never end
        before workers that do not live that long.
        """
        now, now_ms = self._clock(), 1000 * self._wall()
        for key, at_ms in seen_ms.items():
            self._heard.setdefault(key, now - max(now_ms - at_ms, 0.0) / 1000)

    def seen_ms(self, key: CameraKey) -> int:
        """Return when a camera was last seen, for `expect`; now, if it is not waited for."""
        now = self._clock()
        return round(1000 * (self._wall() - now + self._heard.get(key, now)))

    def forget(self, key: CameraKey) -> None:
        """Expect nothing of a camera any more."""
        self._heard.pop(key, None)

    def leave(self, partitions: frozenset[int]) -> None:
        """Forget the cameras of partitions."""
        if partitions:
            self._heard = {k: at for k, at in self._heard.items() if k[0] not in partitions}

    def silent(self, read_to: Mapping[int, float]) -> dict[CameraKey, float]:
        """Say who is silent, and since when, in partitions that are read up to these times."""
        return {
            key: at
            for key, at in self._heard.items()
            if key[0] in read_to and read_to[key[0]] - at >= self.after_s
        }

    def is_silent_since(self, key: CameraKey, at: float) -> bool:
        """Whether a camera that `silent` named has kept quiet until now."""
        return self._heard.get(key) == at


class ReadTo:
    """Up to which time each partition is read: all that was in the log by then has had its fate.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._goals: dict[int, tuple[int, float]] = {}
        self._times: dict[int, float] = {}

    def note(self, partition: int, reached: int, end: int) -> None:
        """Note how far a partition is read, and where its log ends now."""
        now = self._clock()
        goal, at = self._goals.get(partition, (end, now))
        if reached >= goal:
            self._times[partition] = at
            goal, at = end, now
        if reached >= end:
            self._times[partition] = now
        self._goals[partition] = goal, at

    def times(self, partitions: Iterable[int]) -> dict[int, float]:
        """Return the time of each of `partitions` that has one."""
        return {one: self._times[one] for one in partitions if one in self._times}


async def listen(
    *,
    watcher: CameraWatcher,
    lane: Lane,
    delivery: Delivery,
    progress: Callable[[], Mapping[int, tuple[int, int]]],
) -> None:
    """Have silent cameras closed, for ever.

    Args:
        watcher: knows the cameras.
        lane: whose threads it is asked on.
        delivery: takes what is to be closed.
        progress: up to where each partition is stored, and the end of its log.
    """
    read_to = ReadTo()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        found = progress()
        for partition, (reached, end) in found.items():
            if end:  # else nothing was fetched yet
                read_to.note(partition, reached, end)
        times = read_to.times(one for one in found if delivery.positions.holds(one))
        try:  # also where nothing is held: cameras that went elsewhere are forgotten on the way
            silent = await lane.silent(watcher, times)
        except Aborted:
            continue  # the delivery recovers from the failure of a batch
        delivery.close_silent(silent)

"""What is followed before one camera, from frame to frame and across a restart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import Struct

from models.errors import ModelError
from models.vision import rules, tracker
from models.vision.boxes import Boxes, Detections, Tracks
from models.vision.object_events import ObjectEvent
from models.vision.rule_state import RuleState, pack_rules, unpack_rules
from models.vision.rules_file import RuleBook
from models.vision.track_state import TrackerState, new_state, pack_tracks, unpack_tracks
from models.vision.tracker import TrackerConfig
from streams.alerts.objects import OpenAlert, OpenAlerts
from streams.errors import ForeignState
from streams.schemas import DECODE_ERRORS

log = logging.getLogger(__name__)

STATE_VERSION = 1


class _Stored(Struct, frozen=True, array_like=True):
    version: int
    time_ms: int | None
    tracks: bytes
    rules: bytes
    alerts: list[OpenAlert]


class _Version(Struct, frozen=True, array_like=True):
    version: int


@dataclass(frozen=True, slots=True)
class Sight:
    """One frame's objects and tracks, in its pixels, and what the rules make of them."""

    detections: Detections
    tracks: Tracks
    events: list[ObjectEvent]


class CameraWatch:
    """Tracks, rules and open alerts of one camera. Used by one thread."""

    def __init__(
        self,
        tracks: TrackerState | None = None,
        memory: RuleState | None = None,
        alerts: Sequence[OpenAlert] = (),
    ) -> None:
        self._tracks = tracks or new_state()
        self._rules = memory or RuleState()
        self.alerts = OpenAlerts(alerts)
        self._last = Detections.empty()

    @property
    def time_ms(self) -> int | None:
        """Capture time of the last frame."""
        return self._tracks.time_ms

    def look(
        self,
        found: Detections | None,
        book: RuleBook,
        *,
        time_ms: int,
        shape: tuple[int, int],
        config: TrackerConfig,
    ) -> Sight:
        """Take a frame's objects in, in pixels of `shape` (H, W).

        None for a frame in which nothing has moved: its objects are those of the frame before.
        """
        self._last = self._last if found is None else found
        height, width = shape
        self._tracks, tracks = tracker.step(self._tracks, self._last, time_ms, config)
        self._rules, events = rules.evaluate(
            book, self._rules, tracks, time_ms=time_ms, width=width, height=height
        )
        return Sight(self._last, tracks, events)

    def close(self, book: RuleBook, why: str) -> list[ObjectEvent]:
        """End everything that goes on, as of the last frame, and follow nothing further.

        Track ids are not used again. `why` is told.
        """
        last = self.time_ms or 0  # nothing goes on before the first frame
        self._rules, events = rules.close(book, self._rules, time_ms=last)
        self._tracks = TrackerState(new_state().tracks, self._tracks.next_id)
        self._rules = msgspec.structs.replace(self._rules, time_ms=None)
        self._last = Detections.empty()
        return [msgspec.structs.replace(event, reason=f"{event.reason}: {why}") for event in events]

    def pack(self) -> bytes:
        """Encode all of it but the last objects."""
        return msgspec.msgpack.encode(
            _Stored(
                STATE_VERSION,
                self.time_ms,
                pack_tracks(self._tracks),
                pack_rules(self._rules),
                self.alerts.all(),
            )
        )


def stored_time(packed: bytes) -> int | None:
    """Read the capture time of the last frame from what `CameraWatch.pack` wrote.

    Raises:
        ForeignState: it is of another version, or damaged.
    """
    return _stored(packed).time_ms


def unpack_watch(packed: bytes) -> CameraWatch:
    """Read back what `CameraWatch.pack` wrote.

    Raises:
        ForeignState: it is of another version, or damaged.
    """
    stored = _stored(packed)
    try:
        return CameraWatch(unpack_tracks(stored.tracks), unpack_rules(stored.rules), stored.alerts)
    except ModelError as error:
        raise ForeignState(f"a camera's {error}: run tocsin state rebuild") from None


def scaled(found: Detections, picture: tuple[int, int], full: tuple[int, int]) -> Detections:
    """Objects (N) in pixels of a picture (H, W) in those of its full size."""
    if picture == full:
        return found
    across, down = full[1] / picture[1], full[0] / picture[0]
    boxes: Boxes = found.xyxy * np.array([across, down, across, down], np.float32)
    return Detections(boxes, found.confidence, found.class_id)


def _stored(packed: bytes) -> _Stored:
    try:
        version = msgspec.msgpack.decode(packed, type=_Version).version
        if version != STATE_VERSION:
            raise ForeignState(
                f"a camera's state has version {version}, this program writes {STATE_VERSION}: "
                "run tocsin state rebuild"
            )
        return msgspec.msgpack.decode(packed, type=_Stored)
    except DECODE_ERRORS as error:
        raise ForeignState(
            f"a camera's state is damaged: {error}: run tocsin state rebuild"
        ) from None

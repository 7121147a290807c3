"""What the rules remember of one camera between frames, and how that is packed.

Durations run on a clock of their own, in seconds, that only goes forward: a camera whose time is
set back neither ends nor prolongs what happens before it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from models.errors import DataError

STATE_VERSION = 1
MAX_STATE_BYTES = 4 << 20  # 64 rules with 256 watches each take 3.9 MB
MAX_WATCHES = 256  # of one rule: as many as the tracker has tracks
MAX_PLACES = 32  # of one rule
MAX_PATH = 32  # points of one watch
PATH_STEP = 3  # of 255 along either side of the frame: a shorter way is none
MAX_TRAILS = 1024  # ids that change all the time must not fill the memory

WAITING, OPEN, SPENT = 0, 1, 2

Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""What is read back is neither infinite nor NaN."""

Box = tuple[Finite, Finite, Finite, Finite]
"""x1, y1, x2, y2 in shares of the frame."""


class Trail(msgspec.Struct, frozen=True, array_like=True):
    """Where a track was, and since when it is still.

    Attributes:
        anchor: where it stood when it was last seen.
        seen: clock of that moment.
        born: clock of its first frame.
        post: where it has been still.
        still: clock since which it has been near `post`.
    """

    anchor: tuple[Finite, Finite]
    seen: Finite
    born: Finite
    post: tuple[Finite, Finite]
    still: Finite


class Watch(msgspec.Struct, frozen=True, array_like=True):
    """One object to which a rule's condition applies, from before `new` until after `end`.

    Attributes:
        tracker_id: of the track that began it; with the rule it names the event.
        track: the track that is it now; 0 where it is no single track.
        class_id: of that track.
        phase: WAITING for the rule's time, OPEN after `new`, SPENT after `end`.
        began: clock since which the condition has held.
        held: clock when it held last.
        opened: clock of `new`.
        told: clock of the last `new` or `update`.
        started_ms: time of the frame of `new`.
        best: quality of the best picture sent.
        box: where it was last.
        home: where it was at `new`.
        still: whether it stood still when it was last seen.
        side: to which it crossed the line, 1 right, -1 left; 0 for other rules.
        confidence: of the detector when it was last seen.
        path: where its foot was while the condition held: x and y of each point, a byte each, in
            255ths of the frame.
    """

    tracker_id: int
    track: int
    class_id: int
    phase: int
    began: Finite
    held: Finite
    opened: Finite
    told: Finite
    started_ms: int
    best: Finite
    box: Box
    home: Box
    still: bool
    side: int
    confidence: Finite
    path: bytes = b""


def walked(path: bytes, box: Box) -> bytes:
    """Take the foot of `box` into a path, if it moved; a long one keeps every second point."""
    x1, _, x2, y2 = box
    x, y = (round(255 * min(max(at, 0.0), 1.0)) for at in ((x1 + x2) / 2, y2))
    if path and max(abs(x - path[-2]), abs(y - path[-1])) < PATH_STEP:
        return path
    if len(path) >= 2 * MAX_PATH:
        path = b"".join(path[at : at + 2] for at in range(0, len(path), 4))
    return path + bytes((x, y))


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a still object was lost: whatever appears there until then is the same object."""

    class_id: int
    box: Box
    until: Finite


class RuleState(msgspec.Struct, frozen=True):
    """Memory of one camera.

    Attributes:
        clock: seconds, only forward.
        time_ms: of the last frame; None before the first.
        trails: by tracker id.
        watches: by rule name.
        places: by rule name.
        opened: clock of the last `new`, by rule name.
    """

    clock: Finite = 0.0
    time_ms: int | None = None
    trails: dict[int, Trail] = {}
    watches: dict[str, tuple[Watch, ...]] = {}
    places: dict[str, tuple[Place, ...]] = {}
    opened: dict[str, Finite] = {}
    version: int = STATE_VERSION


def pack_rules(state: RuleState) -> bytes:
    """As msgpack; floats keep every bit."""
    return msgspec.msgpack.encode(state)


def unpack_rules(packed: bytes) -> RuleState:
    """Read back what `pack_rules` wrote.

    Raises:
        DataError: it is too large, damaged, or of another version.
    """
    if len(packed) > MAX_STATE_BYTES:
        raise DataError(f"state of rules has {len(packed)} bytes, at most {MAX_STATE_BYTES}")
    try:
        version = msgspec.msgpack.decode(packed, type=_Version).version
        if version != STATE_VERSION:
            raise DataError(f"state of rules has version {version}, expected {STATE_VERSION}")
        state = msgspec.msgpack.decode(packed, type=RuleState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"state of rules is damaged: {error}") from None
    if any(len(watch.path) % 2 for several in state.watches.values() for watch in several):
        raise DataError("state of rules is damaged: half a point")
    return state


class _Version(msgspec.Struct):
    version: int

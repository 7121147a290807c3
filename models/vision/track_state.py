"""What a tracker remembers of one camera, and how that is packed."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import DataError

STATE_VERSION = 1

TRACK = np.dtype(
    [
        ("mean", "<f8", (2, 4)),  # centre x, centre y, width, height in pixels; velocities a second
        ("covariance", "<f8", (3, 4)),  # see `models.vision.kalman`
        ("tracker_id", "<i8"),
        ("class_id", "<i8"),
        ("hits", "<i8"),
        ("age_s", "<f8"),
        ("unseen_s", "<f8"),  # 0 when it was detected in the last frame
        ("confidence", "<f4"),
        ("status", "u1"),  # TENTATIVE or CONFIRMED
    ]
)

_LARGEST = 1e12  # pixels, their squares, seconds: more overflows in the next steps
_HEADER = struct.Struct("<HHIq?q")  # version, size of a record, records, next id, time known, time

Records = npt.NDArray[Any]
"""TRACK[N]."""


@dataclass(frozen=True, slots=True)
class TrackerState:
    """The tracks of one camera after a frame.

    Attributes:
        tracks: TRACK[N], confirmed, tentative and lost.
        next_id: of the next new track, from 1; an id is never given twice.
        time_ms: of the frame; None before the first.
    """

    tracks: Records
    next_id: int = 1
    time_ms: int | None = None


def new_state() -> TrackerState:
    """Of a camera that has not sent a frame."""
    return TrackerState(np.zeros(0, TRACK))


def pack_tracks(state: TrackerState) -> bytes:
    """A header and the records, bit for bit."""
    header = _HEADER.pack(
        STATE_VERSION,
        TRACK.itemsize,
        len(state.tracks),
        state.next_id,
        state.time_ms is not None,
        state.time_ms or 0,
    )
    return header + state.tracks.astype(TRACK, copy=False).tobytes()


def unpack_tracks(packed: bytes) -> TrackerState:
    """Read back what `pack_tracks` wrote.

    Raises:
        DataError: it is of another version, of the wrong size, or holds what no tracker writes.
    """
    if len(packed) < _HEADER.size:
        raise DataError(f"state of tracks has {len(packed)} bytes, less than its header")
    version, itemsize, count, next_id, timed, time_ms = _HEADER.unpack_from(packed)
    if (version, itemsize) != (STATE_VERSION, TRACK.itemsize):
        raise DataError(
            f"state of tracks has version {version} and records of {itemsize} bytes, "
            f"expected {STATE_VERSION} and {TRACK.itemsize}"
        )
    if len(packed) != _HEADER.size + count * TRACK.itemsize:
        raise DataError(f"state of {count} tracks has {len(packed)} bytes: it is cut or padded")
    tracks = np.frombuffer(packed, TRACK, count, _HEADER.size).copy()
    numbers = [tracks[name] for name in ("mean", "covariance", "age_s", "unseen_s", "confidence")]
    ids = tracks["tracker_id"]
    sound = (
        all((np.abs(part) < _LARGEST).all() for part in numbers)  # nor is NaN
        and (tracks["mean"][:, 0, 2:] > 0).all()
        and len(np.unique(ids)) == count
        and (ids < next_id).all()
    )
    if not sound:
        raise DataError("state of tracks is damaged: out of range, inside out, or an id twice")
    return TrackerState(tracks, next_id, time_ms if timed else None)

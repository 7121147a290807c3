"""How many transactions scored how high in each hour: what an alert budget is steered by.

A sketch belongs to a partition and is a ring of `RING` rows, one for each hour of event time, each
a histogram of scores. Counts only add up, so neither the order of events nor the cuts between
batches matter. The rows that changed go to the store in the transaction that stores the partition's
cards: a replay finds counts and cards of the same offset, and counts nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streams.errors import ForeignState
from streams.state.store import DIGEST_BYTES, Bytes2D

WINDOW_MS = 3_600_000
DAY = 24
"""Windows a day."""

RING = 8 * DAY
"""A week to learn from, and a day of room for what comes early or late."""

BINS = 128
LOWEST, HIGHEST = -10.0, 15.0
"""Range of the logits; float32 knows no probability between the logit 16.6 and certainty."""

NEVER = np.iinfo(np.int64).min
VERSION = 1

ROW = np.dtype(
    [
        ("version", "<u2"),
        ("window", "<i8"),  # event time in ms // WINDOW_MS; NEVER for an unused row
        ("alerts", "<u4"),  # alerts among the transactions counted
        ("counts", "<u4", BINS),
    ]
)


def _keys() -> Bytes2D:
    """(RING, 16) keys of the rows: no card's id gives one of them, `person` sees to that."""
    keys = [
        hashlib.blake2b(b"%d" % slot, digest_size=DIGEST_BYTES, person=b"tocsin-sketch").digest()
        for slot in range(RING)
    ]
    return np.frombuffer(b"".join(keys), np.uint8).reshape(RING, DIGEST_BYTES)


KEYS = _keys()


def bins_of(scores: NDArray[np.floating]) -> NDArray[np.int64]:
    """(N,) scores in [0, 1] -> (N,) bins of equal width in logits, rising."""
    probs = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logits = np.log(probs / (1.0 - probs))
    place = (logits - LOWEST) * (BINS / (HIGHEST - LOWEST))
    return np.clip(place.astype(np.int64), 0, BINS - 1)


def score_at(place: float) -> float:
    """Score at a place on the bins' axis: `place` 3.0 is the lower edge of bin 3."""
    logit = LOWEST + place * (HIGHEST - LOWEST) / BINS
    return float(1.0 / (1.0 + np.exp(-logit)))


class ScoreSketch:
    """The rows of one partition."""

    def __init__(self) -> None:
        self.rows = np.zeros(RING, ROW)
        self.rows["version"], self.rows["window"] = VERSION, NEVER
        self._dirty = np.zeros(RING, bool)

    def add(self, window: int, counts: NDArray[np.int64], alerts: int = 0) -> None:
        """Count `counts` (BINS,) scores and `alerts` alerts in `window`.

        A window that is older than what its row holds is passed by: its hour has left the ring.
        """
        slot = window % RING
        row = self.rows[slot : slot + 1]
        if row["window"][0] > window:
            return
        if row["window"][0] < window:
            row["window"], row["counts"], row["alerts"] = window, 0, 0
        row["counts"] += counts.astype(np.uint32)
        row["alerts"] += np.uint32(alerts)
        self._dirty[slot] = True

    def dirty(self) -> list[tuple[bytes, bytes]]:
        """Take the rows that changed since the last call, with their keys."""
        slots = np.flatnonzero(self._dirty).tolist()
        self._dirty[slots] = False
        return [(KEYS[slot].tobytes(), self.rows[slot].tobytes()) for slot in slots]

    @classmethod
    def parse(cls, stored: Sequence[bytes | None]) -> ScoreSketch:
        """Build a sketch from its `RING` stored rows; None where there is none.

        Raises:
            ForeignState: a row is of another version.
        """
        sketch = cls()
        slots = [slot for slot, value in enumerate(stored) if value is not None]
        values = [value for value in stored if value is not None]
        joined = b"".join(values)
        rows = np.frombuffer(joined, ROW) if len(joined) == len(values) * ROW.itemsize else None
        if rows is None or (rows["version"] != VERSION).any():
            raise ForeignState(
                "the stored score histograms are of another version: run tocsin state rebuild"
            )
        sketch.rows[slots] = rows
        return sketch

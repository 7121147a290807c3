"""The fate of a record that cannot be processed: its topic's dead-letter topic, as it came.

That fate is final: a rebuild decides nothing anew, by the settings and the clock of another day.
What was sent back since counts where it came again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streams.pipeline.batch import Batch, Message, Outcome
from streams.pipeline.decode import Rejected
from streams.schemas import DeadLetter, Record


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Buries records of `topic` in `dead_topic`."""

    topic: str
    dead_topic: str

    def outcome(
        self, batch: Batch, rejected: Iterable[Rejected], *, step: str = "decode"
    ) -> Outcome:
        """Start a batch's outcome with its dead letters: original bytes, key and headers.

        Records of a partition that is being rebuilt got theirs the first time, and so did those
        that the stored state covers. Whichever of these have none were applied: with one they could
        be sent back and count twice.
        """
        messages = []
        for bad in rejected:
            record = batch.records[bad.index]
            partition = int(batch.partitions[bad.index])
            quiet, done = batch.quiet_below.get(partition, 0), batch.done_below.get(partition, 0)
            if record.offset < max(quiet, done):
                continue
            letter = DeadLetter(
                value=record.value,
                key=record.key,
                headers=tuple(record.headers),
                reason=bad.reason,
                step=step,
                topic=self.topic,
                partition=partition,
                offset=record.offset,
                timestamp=record.timestamp,
            )
            messages.append(Message(self.dead_topic, record.key, record.value, letter.to_headers()))
        return Outcome(messages=messages, dead_letters=len(messages))


class Buried:
    """Which records of a partition lie in the dead-letter topic.

    Args:
        offsets: (N,) in any order; one may come twice.
        timestamps: (N,) ms, of the records: they tell them from those that lay there before the
            topic was deleted and made again.
    """

    def __init__(self, offsets: NDArray[np.int64], timestamps: NDArray[np.int64]) -> None:
        order = np.argsort(offsets)
        self._offsets, self._timestamps = offsets[order], timestamps[order]

    def __len__(self) -> int:
        return len(self._offsets)

    def without(self, records: list[Record]) -> list[Record]:
        """Return the others of `records`, which are in offset order."""
        if not records:
            return records
        ends = records[0].offset, records[-1].offset + 1
        here = slice(*np.searchsorted(self._offsets, ends).tolist())
        buried = set(
            zip(self._offsets[here].tolist(), self._timestamps[here].tolist(), strict=True)
        )
        if not buried:
            return records
        return [one for one in records if (one.offset, one.timestamp) not in buried]

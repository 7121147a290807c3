"""The fate of a record that cannot be processed: its topic's dead-letter topic, as it came."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streams.pipeline.batch import Batch, Message, Outcome
from streams.pipeline.decode import Rejected
from streams.schemas import DeadLetter


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Buries records of `topic` in `dead_topic`."""

    topic: str
    dead_topic: str

    def outcome(
        self, batch: Batch, rejected: Iterable[Rejected], *, step: str = "decode"
    ) -> Outcome:
        """Start a batch's outcome with its dead letters: original bytes, key and headers.

        Records of a partition that is being rebuilt got theirs the first time.
        """
        messages = []
        for bad in rejected:
            record = batch.records[bad.index]
            partition = int(batch.partitions[bad.index])
            if record.offset < batch.quiet_below.get(partition, 0):
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

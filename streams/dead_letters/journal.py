"""Which letters were sent back: a compacted topic beside the dead-letter topic.

A run claims a letter before it sends it, and settles it after::

    sending     it is about to be sent; it may have been, if the run was killed
    sent        the broker has acknowledged it on its own topic

The journal has one partition, so all runs read all claims in one order, in which the first claim of
a letter wins. A key names the letter and the run: compaction keeps the last word of each run, and a
run that stands back, with a record without a value, takes nothing from what others said. It names
the dead-letter topic by its id: in one that was made again under the same name the same offsets are
other letters.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Collection
from typing import Literal

import msgspec

from streams.admin import log_ends
from streams.dead_letters.sending import Send
from streams.errors import BrokerError
from streams.pipeline.batch import Message
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS
from streams.settings import KafkaSettings

Place = tuple[int, int]
"""Partition and offset of a letter."""

State = Literal["sending", "sent"]

# What was written, or is known to be there, comes back from a broker within milliseconds.
_ANSWER_S = 30.0


class Entry(msgspec.Struct, frozen=True):
    """The value of a record; `at` (ms, epoch) is for people who read the topic."""

    state: str
    at: int


_KEY = re.compile(r"(.+):([0-9]{1,19}):([0-9]{1,19}):(\w+)")
_decode = msgspec.json.Decoder(Entry).decode


class Claims:
    """What the journal says of the letters of one dead-letter topic, as far as it is read.

    Keeps an offset for each letter that was sent, about 70 bytes.
    """

    def __init__(self, topic_id: str) -> None:
        self._topic_id = topic_id
        self._sent: dict[int, set[int]] = defaultdict(set)  # partition: offsets
        self._sending: dict[Place, set[str]] = defaultdict(set)  # runs

    def key(self, place: Place, run: str) -> bytes:
        """Name a letter and the run that says something about it."""
        return f"{self._topic_id}:{place[0]}:{place[1]}:{run}".encode()

    def note(self, key: bytes | None, value: bytes | None) -> tuple[Place, str] | None:
        """Take a record in; return letter and run, or None if it is not about these letters.

        A value that cannot be read counts as a claim: it leaves the letter in doubt.
        """
        found = _KEY.fullmatch((key or b"").decode(errors="replace"))
        if found is None or found[1] != self._topic_id:
            return None
        run = found[4]
        partition, offset = place = int(found[2]), int(found[3])
        if value is None:
            self._sending[place].discard(run)
        elif _state(value) == "sent":
            self._sent[partition].add(offset)
            self._sending.pop(place, None)
        elif offset not in self._sent[partition]:
            self._sending[place].add(run)
        return place, run

    def state(self, place: Place) -> State | None:
        """Sent by any run, or claimed by one, or None."""
        if place[1] in self._sent[place[0]]:
            return "sent"
        return "sending" if self._sending.get(place) else None


def _state(value: bytes) -> str:
    try:
        return _decode(value).state
    except DECODE_ERRORS:
        return "sending"


class Journal:
    """The journal of one dead-letter topic, as one run reads and writes it."""

    def __init__(self, kafka: KafkaSettings, topic: str, topic_id: str | None) -> None:
        self._kafka, self._topic = kafka, topic
        self._claims, self._run = Claims(topic_id or "-"), uuid.uuid4().hex
        self._records = read_topic(kafka, topic, from_beginning=True, follow=True)

    def state(self, place: Place) -> State | None:
        """Say what is known of a letter: sent by any run, or claimed by one, or None."""
        return self._claims.state(place)

    async def read(self) -> None:
        """Read to the present end; to be called once, before all else.

        Raises:
            BrokerError: no broker answers, or it sends less than there is.
        """
        end, position = (await log_ends(self._kafka, self._topic))[0], 0
        while position < end:
            position, _ = await self._next()

    async def close(self) -> None:
        """Disconnect."""
        await self._records.aclose()

    async def claim(self, places: Collection[Place], send: Send) -> set[Place]:
        """Return those of `places` that are ours to send: no other run has claimed them before us.

        1. Write our claims, and wait for the broker.
        2. Read up to the last of them. A letter about which another run said something after we had
           last read, and before our claim, is its own. Withdraw our claims of these.

        Raises:
            BrokerError: the broker does not answer; nothing may be sent.
        """
        # 1. Write.
        await self._write(places, "sending", send)
        # 2. Read.
        unread, others = set(places), set[Place]()
        while unread:
            _, said = await self._next()
            for place, run in said:
                if run == self._run:
                    unread.discard(place)
                elif place in unread:
                    others.add(place)
        await self.withdraw(others, send)
        return set(places) - others

    async def settle(self, places: Collection[Place], send: Send) -> None:
        """Note that letters that were ours are sent.

        Raises:
            BrokerError: the broker does not answer; they stay claimed.
        """
        await self._write(places, "sent", send)

    async def withdraw(self, places: Collection[Place], send: Send) -> None:
        """Note that we have not sent letters that we had claimed.

        Raises:
            BrokerError: the broker does not answer; they stay claimed.
        """
        await self._write(places, None, send)

    async def _write(self, places: Collection[Place], state: State | None, send: Send) -> None:
        if not places:
            return
        now = round(time.time() * 1000)
        value = None if state is None else msgspec.json.encode(Entry(state, now))
        keys = [self._claims.key(place, self._run) for place in places]
        await send([Message(self._topic, key, value, partition=0) for key in keys])

    async def _next(self) -> tuple[int, list[tuple[Place, str]]]:
        """Take in what comes next; return the position after it, and who said something of what."""
        try:
            records = await asyncio.wait_for(anext(self._records), _ANSWER_S)
        except TimeoutError:
            raise BrokerError(f"Kafka does not send what is on topic {self._topic!r}") from None
        noted = [self._claims.note(record.key, record.value) for record in records]
        return records[-1].offset + 1, [one for one in noted if one is not None]

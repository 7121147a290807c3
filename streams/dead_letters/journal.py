"""Which records were sent back: a compacted topic beside the dead-letter topic.

A run claims a record before it sends it, and settles it after::

    sending     it is about to be sent; it may have been, if the run was killed
    sent        the broker has acknowledged it on its own topic

The journal has one partition, so all runs read all claims in one order, in which the first claim of
a record wins. A key names the record and the run: compaction keeps the last word of each run, and a
run that stands back, with a record without a value, takes nothing from what others said.

It names the record by where it lay and not its letter, for a record that was buried twice has two.
Earlier versions named the letter, by its place in the dead-letter topic and that topic's id; which
records these were is read from the letters.
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
from streams.dead_letters.index import Strangers, letters_of
from streams.dead_letters.sending import Send
from streams.errors import BrokerError
from streams.pipeline.batch import Message
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS
from streams.settings import KafkaSettings

State = Literal["sending", "sent"]

# What was written, or is known to be there, comes back from a broker within milliseconds.
_ANSWER_S = 30.0


class Entry(msgspec.Struct, frozen=True):
    """The value of a record; `at` (ms, epoch) is for people who read the topic."""

    state: str
    at: int


_KEY = re.compile(r"(.+:-?\d+:-?\d+(?:@-?\d+)?):(\w+)")
_decode = msgspec.json.Decoder(Entry).decode


class Claims:
    """What the journal says of records, by name (`Letter.record`), as far as it is read.

    Keeps the name of each that was sent.
    """

    def __init__(self) -> None:
        self._sent: set[str] = set()
        self._sending: dict[str, set[str]] = defaultdict(set)  # runs

    def note(self, key: bytes | None, value: bytes | None) -> tuple[str, str] | None:
        """Take a record in; return name and run, or None if its key holds none.

        A value that cannot be read counts as a claim: it leaves the record in doubt.
        """
        found = _KEY.fullmatch((key or b"").decode(errors="replace"))
        if found is None:
            return None
        name, run = found[1], found[2]
        if value is None:
            self._sending[name].discard(run)
        elif _state(value) == "sent":
            self._sent.add(name)
            self._sending.pop(name, None)
        elif name not in self._sent:
            self._sending[name].add(run)
        return name, run

    def state(self, name: str) -> State | None:
        """Sent by any run, or claimed by one, or None."""
        if name in self._sent:
            return "sent"
        return "sending" if self._sending.get(name) else None

    def earlier(self) -> bool:
        """Whether any name is one that earlier versions gave: that of a letter."""
        return any("@" not in name for name in (*self._sent, *self._sending))

    def pass_on(self, letter: str, record: str) -> None:
        """Take what is said of a letter as said of its record."""
        if letter in self._sent:
            self._sent.add(record)
            self._sending.pop(record, None)
        elif record not in self._sent and (runs := self._sending.get(letter)):
            self._sending[record] |= runs


def _state(value: bytes) -> str:
    try:
        return _decode(value).state
    except DECODE_ERRORS:
        return "sending"


class Journal:
    """The journal of one dead-letter topic, as one run reads and writes it."""

    def __init__(self, kafka: KafkaSettings, topic: str, dead: str, dead_id: str | None) -> None:
        self._kafka, self._topic = kafka, topic
        self._dead, self._dead_id = dead, dead_id or "-"
        self._claims, self._run = Claims(), uuid.uuid4().hex
        self._records = read_topic(kafka, topic, from_beginning=True, follow=True)

    def state(self, name: str) -> State | None:
        """Say what is known of a record: sent by any run, or claimed by one, or None."""
        return self._claims.state(name)

    async def read(self) -> None:
        """Read to the present end; to be called once, before all else.

        Where an earlier version wrote to it, the letters are read too, to find out of which records
        they are.

        Raises:
            BrokerError: no broker answers, or it sends less than there is.
        """
        end, position = (await log_ends(self._kafka, self._topic))[0], 0
        while position < end:
            position, _ = await self._next()
        if not self._claims.earlier():
            return
        async for records in read_topic(self._kafka, self._dead, from_beginning=True, follow=False):
            for letter in letters_of(self._dead, records, Strangers()):
                place = f"{self._dead_id}:{letter.partition}:{letter.offset}"
                self._claims.pass_on(place, letter.record)

    async def close(self) -> None:
        """Disconnect."""
        await self._records.aclose()

    async def claim(self, names: Collection[str], send: Send) -> set[str]:
        """Return those of `names` that are ours to send: no other run has claimed them before us.

        1. Write our claims, and wait for the broker.
        2. Read up to the last of them. A record about which another run said something after we had
           last read, and before our claim, is its own. Withdraw our claims of these.

        Raises:
            BrokerError: the broker does not answer; nothing may be sent.
        """
        # 1. Write.
        await self._write(names, "sending", send)
        # 2. Read.
        unread, others = set(names), set[str]()
        while unread:
            _, said = await self._next()
            for name, run in said:
                if run == self._run:
                    unread.discard(name)
                elif name in unread:
                    others.add(name)
        await self.withdraw(others, send)
        return set(names) - others

    async def settle(self, names: Collection[str], send: Send) -> None:
        """Note that records that were ours are sent.

        Raises:
            BrokerError: the broker does not answer; they stay claimed.
        """
        await self._write(names, "sent", send)

    async def withdraw(self, names: Collection[str], send: Send) -> None:
        """Note that we have not sent records that we had claimed.

        Raises:
            BrokerError: the broker does not answer; they stay claimed.
        """
        await self._write(names, None, send)

    async def _write(self, names: Collection[str], state: State | None, send: Send) -> None:
        if not names:
            return
        now = round(time.time() * 1000)
        value = None if state is None else msgspec.json.encode(Entry(state, now))
        keys = [f"{name}:{self._run}".encode() for name in names]
        await send([Message(self._topic, key, value, partition=0) for key in keys])

    async def _next(self) -> tuple[int, list[tuple[str, str]]]:
        """Take in what comes next; return the position after it, and who said something of what."""
        try:
            records = await asyncio.wait_for(anext(self._records), _ANSWER_S)
        except TimeoutError:
            raise BrokerError(f"Kafka does not send what is on topic {self._topic!r}") from None
        noted = [self._claims.note(record.key, record.value) for record in records]
        return records[-1].offset + 1, [one for one in noted if one is not None]

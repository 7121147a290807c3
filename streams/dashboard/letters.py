"""Dead letters for the page and the API: the newest of them, and the way back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from heapq import heappush, heappushpop
from typing import Final

from streams.connection import in_time
from streams.dashboard.access.users import Principal
from streams.dashboard.desk import LONGEST_TEXT, Desk
from streams.dashboard.sender import WITHIN_S
from streams.dead_letters.fate import Report
from streams.dead_letters.index import Letter, Strangers, Wanted, find_letters, find_named
from streams.dead_letters.replay import replay
from streams.dead_letters.route import Order
from streams.dead_letters.sending import sending
from streams.errors import BrokerError, TocsinError, TopicMissing
from streams.settings import Settings

log = logging.getLogger(__name__)

NEWEST: Final = 2_000
"""Records before the end of each partition that are read for one answer; `tocsin dead-letters list`
reads all."""

MOST: Final = 500
"""Letters in one answer at most."""

KEPT_S: Final = 3.0
"""How old an answer may be: however many look on, the topics are not read more often."""

SILENT_S: Final = 15.0
"""A broker that gives no letter for so long hangs: one reading would hold up all who look."""

_KEPT: Final = 8
"""Answers that are kept, of 2 MiB at most each."""

_SHOWN_BYTES: Final = 4_096

_TO_SEND: Final = "to send back:"


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a letter, whose value may be a picture of megabytes: `head` begins it."""

    name: str
    origin: str
    topic: str
    partition: int
    reason: str
    step: str
    buried_at: int
    replay_of: str | None
    size: int
    head: bytes

    @classmethod
    def of(cls, letter: Letter) -> Shown:
        """Leave the rest of a letter out."""
        content = letter.content
        value = content.value or b""
        return cls(
            name=letter.name,
            origin=letter.origin,
            topic=content.topic,
            partition=content.partition,
            reason=content.reason,
            step=content.step,
            buried_at=letter.buried_at,
            replay_of=letter.replay_of,
            size=len(value),
            head=value[:_SHOWN_BYTES],
        )


@dataclass(frozen=True, slots=True)
class Letters:
    """The newest letters first; `total` are wanted among those that were read."""

    newest: list[Shown]
    total: int
    are_all: bool
    """Whether all there are were read."""


class NewestLetters:
    """Finds letters for all who look, one reading after the other; answers are kept for a moment.

    Each reading fetches thousands of records of a partition, so that many at once would take the
    memory of all.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._kept: dict[Wanted, tuple[float, Letters | BrokerError]] = {}  # and until when

    async def find(self, wanted: Wanted, limit: int) -> Letters:
        """Find the newest `limit` letters, `MOST` at most.

        Raises:
            BrokerError: no broker answers, or none did a moment ago.
            SettingsError: a topic was named that has no dead letters.
        """
        async with self._lock:
            until, found = self._kept.get(wanted, (0.0, None))
            if found is None or time.monotonic() >= until:
                found = await self._read(wanted)
        if isinstance(found, BrokerError):
            raise found.with_traceback(None)
        return Letters(found.newest[:limit], found.total, found.are_all)

    async def _read(self, wanted: Wanted) -> Letters | BrokerError:
        self._kept.pop(wanted, None)
        found: Letters | BrokerError
        try:
            found = await newest_letters(self._settings, wanted, MOST)
        except BrokerError as error:
            found = error
        while len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]  # the oldest
        self._kept[wanted] = time.monotonic() + KEPT_S, found
        return found


async def newest_letters(settings: Settings, wanted: Wanted, limit: int) -> Letters:
    """Find the newest `limit` letters.

    Raises:
        BrokerError: no broker answers.
        SettingsError: a topic was named that has no dead letters.
    """
    newest: list[tuple[int, str, Shown]] = []
    read, total, strangers = Counter[tuple[str, int]](), 0, Strangers()
    found = _while_it_answers(
        settings, find_letters(settings, Wanted(wanted.topics), strangers, newest=NEWEST)
    )
    try:
        async with aclosing(found):
            async for letter in found:
                read[letter.dead_topic, letter.partition] += 1
                if not wanted.includes(letter):
                    continue
                total += 1
                entry = letter.buried_at, letter.name, Shown.of(letter)
                if len(newest) < limit:
                    heappush(newest, entry)
                else:
                    heappushpop(newest, entry)
    except TopicMissing:
        return Letters([], 0, are_all=True)
    most = max(read.values(), default=0) + strangers.count
    letters = [shown for _, _, shown in sorted(newest, reverse=True)]
    return Letters(letters, total, are_all=most < NEWEST)


async def _while_it_answers(
    settings: Settings, letters: AsyncGenerator[Letter, None]
) -> AsyncGenerator[Letter, None]:
    """Pass letters on, while there is one in time."""
    async with aclosing(letters):
        while True:
            async with in_time(settings.kafka, SILENT_S, "did not answer"):
                letter = await anext(letters, None)
            if letter is None:
                return
            yield letter


async def send_back(
    settings: Settings, names: Sequence[str], *, dry_run: bool = False
) -> Counter[str]:
    """Replay letters by name, none that was replayed before; count their fates, with why.

    A dry run says what would become of them, and neither sends nor writes anything.

    Raises:
        BrokerError: no broker answers.
        SettingsError: one is no name of a letter.
        TocsinError: one is not there (any more).
    """
    report, letters = Report(), _while_it_answers(settings, find_named(settings, names))
    if dry_run:
        await replay(settings, letters, Order(), report)
    else:
        async with sending(settings.kafka, WITHIN_S) as send:
            await replay(settings, letters, Order(), report, send=send)
    fates = Counter[str]()
    for fate, why, kind in report.rows():
        fates[f"{fate.value}: {why}" if why else fate.value] += kind.letters
    return fates


async def send_back_on_record(
    settings: Settings, desk: Desk, names: Sequence[str], who: Principal
) -> Counter[str]:
    """Replay letters as `send_back`, and write down who did it.

    1. What is to be sent goes on record, every name of it. 2. It is sent. 3. What came of it goes
    on record too; it is done, where that fails.

    Raises:
        BrokerError: it cannot be put on record, and nothing was sent; or no broker answers.
        SettingsError: one is no name of a letter.
        TocsinError: one is not there (any more).
    """
    # 1.
    for text in told(names):
        await desk.record(who.name, "replay", text)
    # 2.
    try:
        fates = await send_back(settings, names)
    except TocsinError as error:
        await _said_after(desk, who, f"could not be sent back: {error}")
        raise
    # 3.
    await _said_after(desk, who, f"done: {counted(fates)}")
    return fates


def counted(fates: Mapping[str, int]) -> str:
    """Say how many letters had each fate."""
    return ", ".join(f"{count} {fate}" for fate, count in fates.items())


def told(names: Sequence[str]) -> list[str]:
    """Write all names into as few texts as hold them."""
    texts = [""]
    for name in names:
        if len(_TO_SEND) + len(texts[-1]) + len(name) >= LONGEST_TEXT:
            texts.append("")
        texts[-1] += f" {name}"
    return [_TO_SEND + text for text in texts]


async def _said_after(desk: Desk, who: Principal, text: str) -> None:
    try:
        await desk.record(who.name, "replay", text)
    except TocsinError as error:
        log.warning("what came of a replay by %s is not on record: %s", who.name, error)

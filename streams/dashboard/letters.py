"""Dead letters for the page and the API: the newest of them, and the way back."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from heapq import heappush, heappushpop
from typing import Final

from streams.dashboard.access.users import Principal
from streams.dashboard.desk import LONGEST_TEXT, Desk
from streams.dead_letters.fate import Report
from streams.dead_letters.index import Letter, Strangers, Wanted, find_letters, find_named
from streams.dead_letters.replay import replay
from streams.dead_letters.route import Order
from streams.dead_letters.sending import sending
from streams.errors import TocsinError, TopicMissing
from streams.settings import Settings

log = logging.getLogger(__name__)

NEWEST: Final = 2_000
"""Records before the end of each partition that are read for one answer; `tocsin dead-letters list`
reads all."""

_TO_SEND: Final = "to send back:"


@dataclass(frozen=True, slots=True)
class Letters:
    """The newest letters first; `total` are wanted among those that were read."""

    newest: list[Letter]
    total: int
    are_all: bool
    """Whether all there are were read."""


async def newest_letters(settings: Settings, wanted: Wanted, limit: int) -> Letters:
    """Find the newest `limit` letters.

    Raises:
        BrokerError: no broker answers.
        SettingsError: a topic was named that has no dead letters.
    """
    newest: list[tuple[int, str, Letter]] = []
    read, total, strangers = Counter[tuple[str, int]](), 0, Strangers()
    found = find_letters(settings, Wanted(wanted.topics), strangers, newest=NEWEST)
    try:
        async with aclosing(found):
            async for letter in found:
                read[letter.dead_topic, letter.partition] += 1
                if not wanted.includes(letter):
                    continue
                total += 1
                entry = letter.buried_at, letter.name, letter
                if len(newest) < limit:
                    heappush(newest, entry)
                else:
                    heappushpop(newest, entry)
    except TopicMissing:
        return Letters([], 0, are_all=True)
    most = max(read.values(), default=0) + strangers.count
    letters = [letter for _, _, letter in sorted(newest, reverse=True)]
    return Letters(letters, total, are_all=most < NEWEST)


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
    report, letters = Report(), find_named(settings, names)
    if dry_run:
        await replay(settings, letters, Order(), report)
    else:
        async with sending(settings.kafka) as send:
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

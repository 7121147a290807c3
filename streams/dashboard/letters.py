"""Dead letters for the page and the API: the newest of them, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from heapq import heappush, heappushpop
from typing import Final

from streams.dead_letters.fate import Report
from streams.dead_letters.index import Letter, Strangers, Wanted, find_letters, find_named
from streams.dead_letters.replay import replay
from streams.dead_letters.route import Order
from streams.dead_letters.sending import sending
from streams.errors import TopicMissing
from streams.settings import Settings

NEWEST: Final = 2_000
"""Records before the end of each partition that are read for one answer; `tocsin dead-letters list`
reads all."""


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

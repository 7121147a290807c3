"""Dead letters for the page and the API: the newest of them, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from heapq import heappush, heappushpop
from typing import Final

from streams.dead_letters.fate import Report
from streams.dead_letters.index import Letter, Strangers, Wanted, find_letters, find_named
from streams.dead_letters.replay import replay
from streams.dead_letters.route import Order
from streams.dead_letters.sending import sending
from streams.errors import TopicMissing
from streams.settings import Settings

MOST_READ: Final = 100_000
"""Letters that are read for one answer; `tocsin dead-letters list` reads all."""


async def newest_letters(
    settings: Settings, wanted: Wanted, limit: int
) -> tuple[list[Letter], int]:
    """Find the newest `limit` letters, the newest first, and how many there are in all.

    Raises:
        BrokerError: no broker answers.
        SettingsError: a topic was named that has no dead letters.
    """
    newest: list[tuple[int, str, Letter]] = []
    total = 0
    found = find_letters(settings, wanted, Strangers())
    try:
        async with aclosing(found):
            async for letter in found:
                total += 1
                entry = letter.buried_at, letter.name, letter
                if len(newest) < limit:
                    heappush(newest, entry)
                else:
                    heappushpop(newest, entry)
                if total == MOST_READ:
                    break
    except TopicMissing:
        return [], 0
    return [letter for _, _, letter in sorted(newest, reverse=True)], total


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

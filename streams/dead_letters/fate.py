"""What became of letters that were to be sent back, counted."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from streams.dead_letters.index import Kind, Letter, Tally


class Fate(Enum):
    """What became of a letter that was to be replayed."""

    SENT = "sent"
    """Or would be, in a dry run."""

    REPLAYED = "replayed before"
    DOUBTFUL = "in doubt"
    CANNOT = "cannot"
    FAILED = "failed"
    TWIN = "buried twice"
    """Its record goes back, or has gone, from another letter that the same run has come to."""


class Report:
    """Counts letters by fate and kind, in bounded memory."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[Fate, str], Tally] = {}

    def add(self, letter: Letter, fate: Fate, why: str = "") -> None:
        """Count one; `why` is one of a few texts."""
        self._tallies.setdefault((fate, why), Tally()).add(letter)

    def count(self, fate: Fate) -> int:
        """How many had this fate."""
        return sum(tally.letters for (one, _), tally in self._tallies.items() if one is fate)

    def rows(self) -> Iterator[tuple[Fate, str, Kind]]:
        """Each fate, why, and the kinds of letters that had it, the most frequent first."""
        for fate in Fate:
            for (one, why), tally in self._tallies.items():
                if one is fate:
                    yield from ((fate, why, kind) for kind in tally.kinds())

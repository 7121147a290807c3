"""What happened in a history, in order: the same for the same seed, byte by byte."""

from __future__ import annotations

from typing import Any

from streams.simulation.clock import Clock


class Trace:
    """Lines of virtual seconds, words and numbers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[float, tuple[Any, ...]]] = []

    def note(self, *what: Any) -> None:
        """Write something down."""
        self._entries.append((self._clock.now, what))

    def text(self) -> str:
        """Return all of it."""
        return "".join(f"{at:.6f} {' '.join(map(str, what))}\n" for at, what in self._entries)

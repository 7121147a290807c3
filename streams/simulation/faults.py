"""What goes wrong and how often it did: drawn from one seed, counted where it hits."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Final

from streams.simulation.trace import Trace

TICK_S: Final = 0.25
"""How often what befalls a process or a server is drawn."""

BY_TICK: Final = {
    "crash": 0.12,
    "stop": 0.08,
    "cut off": 0.06,
    "restart": 0.08,
    "join": 0.05,
    "leave": 0.05,
    "device lost": 0.02,
    "redis away": 0.08,
    "redis emptied": 0.04,
    "redis rolled back": 0.06,
}
"""Chance by tick, and by worker for what befalls a worker."""

BY_CALL: Final = {
    "crash in store": 0.004,
    "crash in publish": 0.004,
    "redis answer lost": 0.02,
    "produce failed": 0.03,
    "produce answer lost": 0.03,
    "commit refused": 0.03,
    "commit answer lost": 0.03,
    "fetch delayed": 0.15,
    "seek given up": 0.1,
    "batch fails": 0.02,
    "slow": 0.03,
}
"""Chance by call."""


class Faults:
    """The faults of one history.

    Each kind is left out of some histories: what is left hits something else than it would among
    all of them.
    """

    def __init__(self, random: Random, trace: Trace) -> None:
        self.hit: Counter[str] = Counter()
        self._trace = trace
        strength = random.choice((0.5, 1.0, 2.0, 4.0))
        self._rates = {
            kind: rate * strength if random.random() < 0.6 else 0.0
            for kind, rate in (BY_TICK | BY_CALL).items()
        }
        self._random = random.random
        self.calm = False
        """Nothing goes wrong any more."""

    def strikes(self, kind: str) -> bool:
        """Draw whether `kind` hits here and now, and count it if so."""
        due = self.is_due(kind)
        if due:
            self.count(kind)
        return due

    def count(self, kind: str) -> None:
        """Note that `kind` has hit."""
        self.hit[kind] += 1
        self._trace.note("fault", kind)

    def is_due(self, kind: str) -> bool:
        """Draw whether `kind` is to hit; who brings it about counts it when it has."""
        rate = self._rates[kind]
        return bool(rate) and not self.calm and self._random() < rate

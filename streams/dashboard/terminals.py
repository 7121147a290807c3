"""What the labels agent's memory knows of a terminal: the verdicts that its risk is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.fraud.verdicts import FRAUD, PROFILE, WITHDRAWN
from streams.settings import Settings
from streams.state.redis import RedisStateStore
from streams.state.store import digests
from streams.state.table import parse_rows, row_dtype


@dataclass(frozen=True, slots=True)
class KnownVerdict:
    """A verdict on a payment at a terminal: when it was (ms), its amount, and what it was."""

    event_time: int
    amount: float
    is_fraud: bool


@dataclass(frozen=True, slots=True)
class Terminal:
    """The newest verdicts one by one, in order of event time; of older ones only how many."""

    verdicts: Sequence[KnownVerdict]
    older: int
    older_frauds: int


class Terminals:
    """Looks terminals up in Redis."""

    def __init__(self, settings: Settings) -> None:
        self._store = RedisStateStore(settings.redis, settings.labels.group, shared=True)
        self._row = row_dtype(PROFILE)
        self._lock = asyncio.Lock()

    async def find(self, terminal_id: str) -> Terminal | None:
        """Return what is known of a terminal; None where no verdict on it ever came.

        Raises:
            StoreError: Redis does not serve.
        """
        async with self._lock:
            (row,) = await asyncio.to_thread(
                self._store.load, np.zeros(1, np.int32), digests([terminal_id])
            )
        if row is None:
            return None
        return _known(parse_rows([row], self._row, 0)[0]["state"][0])

    def close(self) -> None:
        """Disconnect."""
        self._store.close()


def _known(profile: Any) -> Terminal:
    used = int(profile["ring_used"])
    columns = (
        profile[f"ring_{name}"][:used].tolist() for name in ("event_time", "amount", "verdict")
    )
    verdicts = [
        KnownVerdict(event_time, amount, verdict == FRAUD)
        for event_time, amount, verdict in zip(*columns, strict=True)
        if verdict != WITHDRAWN
    ]
    return Terminal(
        sorted(verdicts, key=lambda one: one.event_time),
        int(profile["folded"]),
        int(profile["folded_frauds"]),
    )

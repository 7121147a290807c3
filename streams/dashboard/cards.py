"""What the fraud agent's memory knows of a card, for whoever has to decide."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streams.settings import Settings
from streams.state.cards import CardHistory
from streams.state.redis import RedisStateStore


@dataclass(frozen=True, slots=True)
class Card:
    """Transactions so far, the usual amount, and the unusually large ones: (ms, times usual)."""

    transactions: int
    usual_amount: float
    large: Sequence[tuple[int, float]]


class Cards:
    """Looks cards up in Redis."""

    def __init__(self, settings: Settings) -> None:
        self._store = RedisStateStore(settings.redis, settings.fraud.group)
        self._history = CardHistory(self._store)
        self._lock = asyncio.Lock()

    async def find(self, card_id: str) -> Card | None:
        """Return what is known of a card; None for one that was never seen.

        Raises:
            StoreError: Redis does not serve.
        """
        async with self._lock:
            (state,) = await asyncio.to_thread(self._history.find, [card_id])
        if not state["count"]:
            return None
        return Card(int(state["count"]), float(state["mean"]), _large(state))

    def close(self) -> None:
        """Disconnect."""
        self._store.close()


def _large(state: Any) -> list[tuple[int, float]]:
    kept = min(int(state["large_count"]), len(state["large_time"]))
    pairs = zip(
        state["large_time"][:kept].tolist(), state["large_ratio"][:kept].tolist(), strict=True
    )
    return sorted((int(at), float(ratio)) for at, ratio in pairs)

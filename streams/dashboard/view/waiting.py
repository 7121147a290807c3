"""Verdicts whose alert has not come yet: kept in Redis, so that any dashboard puts them together.

A case system may judge a payment before the worker that is behind has scored it. Most verdicts are
on payments without an alert, so that the newest alone are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from streams.dashboard.view.scripts import KEEP
from streams.schemas import TransactionLabel, encode
from streams.state.redis_client import translated

MOST: Final = 20_000
"""Verdicts kept, of the newest that came: about 300 bytes of Redis each."""

Placed = tuple[TransactionLabel, int]
"""A verdict and its offset."""


class Waiting:
    """Every method raises `StoreError` when Redis does not serve it."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client = client
        self._keys = [f"{prefix}waiting", f"{prefix}waiting-since"]
        self._keep = client.register_script(KEEP)

    async def keep(self, labels: Sequence[Placed]) -> None:
        """Keep verdicts: of several on a transaction the later, on a tie by offset."""
        args: list[Any] = [MOST, round(time.time() * 1000)]
        for label, offset in labels:
            args += [label.tx_id, label.labelled_at, offset, encode(label)]
        with translated():
            await self._keep(keys=self._keys, args=args)

    async def find(self, transactions: Iterable[str]) -> list[Placed]:
        """Give the verdicts that wait for alerts on these transactions."""
        names = list(transactions)
        if not names:
            return []
        with translated():
            held = await self._client.hmget(self._keys[0], names)
        return [_placed(value) for value in held if value is not None]

    async def forget(self, transactions: Iterable[str]) -> None:
        """Keep them no longer."""
        names = list(transactions)
        if names:
            with translated():
                await self._client.hdel(self._keys[0], *names)
                await self._client.zrem(self._keys[1], *names)


def _placed(held: bytes) -> Placed:
    _, offset, value = held.split(b" ", 2)
    return _decode(value), int(offset)


_decode = msgspec.json.Decoder(TransactionLabel).decode

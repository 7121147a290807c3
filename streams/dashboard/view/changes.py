"""Who is told what changed: one reader of Redis for all who look on, and a bound for each.

The stream's ids are the same at every dashboard, so whoever was away goes on where they were, also
at another one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from streams.dashboard.view.records import ViewedAlert
from streams.dashboard.view.store import ViewStore
from streams.errors import StoreError
from streams.state.redis_client import translated

log = logging.getLogger(__name__)

_BLOCK_MS: Final = 1_000
_BATCH: Final = 500
PENDING: Final = 2_000
"""Alerts that wait for one who looks on; one that is slower than this is told to load anew."""

_RETRY_S: Final = 1.0
_PLACE = re.compile(r"\d{1,19}-\d{1,19}")


@dataclass(frozen=True, slots=True)
class Change:
    """An alert as it is now; `place` is where in the stream it was told, the id to resume from."""

    place: str
    viewed: ViewedAlert


class Subscription:
    """Changes that one who looks on has not taken yet: of each alert the last."""

    def __init__(self) -> None:
        self._pending: dict[str, Change] = {}
        self._wake = asyncio.Event()
        self.lost = False
        """More came than could be kept: what was pending is gone, load the list again."""

    def offer(self, change: Change) -> None:
        """Keep a change; never waits."""
        self._pending.pop(change.viewed.alert.id, None)
        self._pending[change.viewed.alert.id] = change
        if len(self._pending) > PENDING:
            self.lose()
        self._wake.set()

    def lose(self) -> None:
        """Give up what is pending: something that was to be told is not known any more."""
        self._pending.clear()
        self.lost = True
        self._wake.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to take; False when nothing came in time."""
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    @property
    def pending(self) -> list[Change]:
        """What is to be taken, in order of the stream."""
        return list(self._pending.values())

    def take(self, but: Collection[str] = ()) -> list[Change]:
        """Take what is pending, in order of the stream, `but` what is about these alerts.

        `lost` is left to the caller to clear.
        """
        self._wake.clear()
        left = {name: self._pending[name] for name in but if name in self._pending}
        taken = [change for name, change in self._pending.items() if name not in left]
        self._pending = left
        return taken


class Changes:
    """Follows the stream and tells all who look on."""

    def __init__(self, store: ViewStore) -> None:
        self._store = store
        self._subscriptions: set[Subscription] = set()
        self._place: str | None = None  # of the last change that all were told of

    @property
    def watching(self) -> int:
        """How many look on."""
        return len(self._subscriptions)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """Be told of what changes during the block."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def follow(self) -> None:
        """Tell until cancelled; waits for a Redis that is away.

        Whoever begins it again goes on where it was: nothing counts as told that was only read.
        """
        while True:
            try:
                await self._tell()
            except StoreError as error:
                log.warning("live alerts stand still: %s", error)
                await asyncio.sleep(_RETRY_S)

    async def _tell(self) -> None:
        """Tell what came since, or that more did than the stream keeps."""
        if self._place is None:
            self._place = await self.last()
        elif not await self.reaches(self._place):
            self._place = await self.last()
            for subscription in self._subscriptions:
                subscription.lose()
        ids, place = await self._read(self._place, _BLOCK_MS)
        if ids and self._subscriptions:
            for change in await self._load(ids):
                for subscription in tuple(self._subscriptions):
                    subscription.offer(change)
        self._place = place

    async def last(self) -> str:
        """Name the place of the last change; ``0-0`` where there was none."""
        with translated():
            newest = await self._store.client.xrevrange(self._store.changes_key, count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def since(self, place: str) -> AsyncIterator[list[Change]]:
        """Yield what changed after `place`, up to now, each alert as it is now."""
        while True:
            ids, place = await self._read(place, None)
            if not ids:
                return
            yield await self._load(ids)

    async def reaches(self, place: str) -> bool:
        """Whether all that changed after `place` is still in the stream."""
        if _PLACE.fullmatch(place) is None:
            return False
        key = self._store.changes_key
        with translated():
            first = await self._store.client.xrange(key, count=1)
            if not first:
                return place == "0-0"
            if _order(place) >= _order(first[0][0].decode()):
                return True
            info = await self._store.client.xinfo_stream(key)
        return bool(info.get("entries-added") == info["length"])  # none has left it yet

    async def _read(self, place: str, block_ms: int | None) -> tuple[dict[str, str], str]:
        """Give ids with the last place of each, in order of these, and how far was read."""
        with translated():
            answer = await self._store.client.xread(
                {self._store.changes_key: place}, count=_BATCH, block=block_ms
            )
        ids: dict[str, str] = {}
        for at, fields in answer[0][1] if answer else ():
            place, alert_id = at.decode(), fields[b"id"].decode()
            ids.pop(alert_id, None)
            ids[alert_id] = place
        return ids, place

    async def _load(self, ids: dict[str, str]) -> list[Change]:
        found = await self._store.get(list(ids))
        return [
            Change(place, viewed)
            for place, viewed in zip(ids.values(), found, strict=True)
            if viewed is not None
        ]


def _order(place: str) -> tuple[int, int]:
    milliseconds, _, number = place.partition("-")
    return int(milliseconds), int(number)

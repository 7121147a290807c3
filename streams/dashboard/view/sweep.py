"""What leaves the view: what is too old, and what is too much."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

from streams.dashboard.view.store import ViewStore
from streams.errors import StoreError
from streams.settings import DashboardSettings
from streams.state.redis_client import translated

log = logging.getLogger(__name__)

EVERY_S: Final = 20.0
_CHUNK: Final = 500
_DAY_MS: Final = 86_400_000


async def sweep_for_ever(store: ViewStore, settings: DashboardSettings) -> None:
    """Sweep until cancelled; several dashboards may."""
    while True:
        try:
            await sweep(store, settings, round(time.time() * 1000))
        except StoreError as error:
            log.warning("old alerts stay for now: %s", error)
        await asyncio.sleep(EVERY_S)


async def sweep(store: ViewStore, settings: DashboardSettings, now: int) -> None:
    """Drop alerts beyond the limit, then those that are older than it and have ended.

    Raises:
        StoreError: Redis does not serve.
    """
    oldest = now - round(settings.days * _DAY_MS)
    surplus = await store.count() - settings.max_alerts
    key = store.index("time")
    while surplus > 0:
        with translated():
            found = await store.client.zrange(key, 0, min(surplus, _CHUNK) - 1)
        if not found:
            break
        await store.drop([name.decode() for name in found])
        surplus -= len(found)
    begin = 0
    while True:
        with translated():
            names = await store.client.zrangebyscore(key, "-inf", oldest, start=begin, num=_CHUNK)
            if not names:
                break
            scores = await store.client.zmscore(store.index("open"), names)
        ended = [name.decode() for name, at in zip(names, scores, strict=True) if at is None]
        await store.drop(ended)
        begin += len(names) - len(ended)
    await store.forget_suppressions(oldest)

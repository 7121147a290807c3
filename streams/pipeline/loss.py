"""Notices that stored state is gone, also where no record comes for which it would be needed.

A load or a flush finds that out by itself. Without it a worker whose records are rare would go on
with nothing in the store, and who reads there what it had stored would do without.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from streams.errors import StoreError
from streams.pipeline.positions import Positions
from streams.state.store import StateStore

LOOK_EVERY_S: Final = 5.0


async def notice_loss(
    store: StateStore, positions: Positions, *, every_s: float = LOOK_EVERY_S
) -> None:
    """Compare what is stored with what this worker has stored, for ever.

    Partitions that have not begun, or are being given away, are left out. A marker ahead of ours is
    that of a flush under way.

    Raises:
        Fenced: the state of a partition is gone, or went back in time.
    """
    while True:
        await asyncio.sleep(every_s)
        held = {one: at for one, at in positions.markers.items() if positions.holds(one)}
        with suppress(StoreError):  # away: who needs it waits for it
            await asyncio.to_thread(store.verify, held)

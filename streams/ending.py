"""Ends tasks."""

from __future__ import annotations

import asyncio
from typing import Any


async def end(*tasks: asyncio.Future[Any], again_s: float = 2.0) -> None:
    """Cancel tasks until they have ended, however they do; they may take `again_s` to clean up.

    Once is not enough: `asyncio.wait_for` of Python 3.11, by which redis-py sends, swallows a
    cancellation that comes in the moment in which it is done.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=again_s)
    await asyncio.gather(*tasks, return_exceptions=True)  # whose errors were told, or are not

"""Work in the background that goes on for as long as the dashboard does, also after a crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from streams.ending import end

log = logging.getLogger(__name__)

AGAIN_S = 2.0
"""From a crash to the next start."""

SOUND_S = 10.0
"""What has run for so long since is sound again."""


class Tasks:
    """Keeps work running, and says what of it has crashed."""

    def __init__(self) -> None:
        self._crashed: dict[str, str] = {}

    @property
    def crashed(self) -> Mapping[str, str]:
        """What has crashed a moment ago, and why."""
        return self._crashed

    @asynccontextmanager
    async def running(
        self, work: Mapping[str, Callable[[], Awaitable[None]]]
    ) -> AsyncIterator[None]:
        """Run all of `work`, by name, during the block; each begins anew when it ends."""
        tasks = [asyncio.create_task(self._keep(name, begin)) for name, begin in work.items()]
        try:
            yield
        finally:
            await end(*tasks)

    async def _keep(self, name: str, begin: Callable[[], Awaitable[None]]) -> None:
        while True:
            sound = asyncio.get_running_loop().call_later(SOUND_S, self._crashed.pop, name, None)
            try:
                await begin()
                why = "it ended"
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                log.exception("%s crashed and is begun anew", name)
            finally:
                sound.cancel()
            self._crashed[name] = why
            await asyncio.sleep(AGAIN_S)

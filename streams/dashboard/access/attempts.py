"""How often a login may fail: by user and by address, counted in Redis for all dashboards."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from streams.settings import DashboardSettings, access_namespace
from streams.state.redis_client import translated

WINDOW_S: Final = 300
BY_USER: Final = 10
"""Failures of one user from anywhere: who knows a name can lock it, for minutes, and no longer."""

BY_ADDRESS: Final = 20


class Attempts:
    """Counts failures within `WINDOW_S` of the first one.

    Every method raises `StoreError` when Redis does not serve it.
    """

    def __init__(self, client: Any, settings: DashboardSettings) -> None:
        self._client, self._prefix = client, f"{access_namespace(settings)}:failed:"

    async def begin(self, user: str | None, address: str) -> int:
        """Count an attempt before it is checked, so that many at once count too.

        `user` is None where nobody has said yet who they are.
        Returns for how many seconds no more are taken; 0 where this one may go on.
        """
        wait = 0
        for kind, name, most in (("user", user, BY_USER), ("address", address, BY_ADDRESS)):
            if name is None:
                continue
            key = self._key(kind, name)
            with translated():
                made = self._client.pipeline(transaction=True)
                count, _, left = (
                    await made.incr(key).expire(key, WINDOW_S, nx=True).ttl(key).execute()
                )
            if count > most:
                wait = max(wait, int(left), 1)
        return wait

    async def succeeded(self, user: str | None, address: str) -> None:
        """Forget a user's failures, and take the attempt off the address."""
        with translated():
            if user is not None:
                await self._client.delete(self._key("user", user))
            await self._client.decr(self._key("address", address))

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}{kind}:{hashlib.sha256(name.encode(errors='replace')).hexdigest()}"

"""Who is logged in, in Redis: known to every dashboard, and ended by deleting a key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

import msgspec
from msgspec import Struct

from streams.dashboard.access.users import Principal, Role, Users
from streams.settings import DashboardSettings, access_namespace
from streams.state.redis_client import translated


class Session(Struct, frozen=True):
    """A login; `csrf` must come back with every request of a browser that changes something."""

    user: str
    csrf: str
    role: Role | None = None
    """Of somebody whom a provider vouched for, at their login; None for one in the settings."""

    id_token: str = ""
    """With which the provider's own session is ended."""

    seal: str = ""
    """Of what let them in: another password, token or provider ends the session."""

    def allows(self, csrf: str | None) -> bool:
        """Whether `csrf` is the one of this session."""
        return csrf is not None and hmac.compare_digest(self.csrf.encode(), csrf.encode())


_decode = msgspec.json.Decoder(Session).decode


class Sessions:
    """Sessions by a random id, of which Redis holds the hash alone.

    Every method raises `StoreError` when Redis does not serve it.
    """

    def __init__(self, client: Any, settings: DashboardSettings, users: Users) -> None:
        self._client, self._users, self._issuer = client, users, settings.oidc.issuer
        self._prefix = f"{access_namespace(settings)}:session:"
        self.lifetime_s = round(settings.session_hours * 3600)

    async def begin(self, user: Principal, id_token: str = "") -> tuple[str, Session]:
        """Log somebody in, by a provider's token or by ours; give the id, for a cookie."""
        name = secrets.token_urlsafe(32)
        role = user.role if id_token else None
        seal = self._seal(user.name, role)
        session = Session(user.name, secrets.token_urlsafe(32), role, id_token, seal)
        with translated():
            await self._client.set(
                self._key(name), msgspec.json.encode(session), ex=self.lifetime_s
            )
        return name, session

    async def find(self, name: str) -> tuple[Principal, Session] | None:
        """Look a session up; None for one that is over, or of what lets nobody in any more."""
        with translated():
            held = await self._client.get(self._key(name))
        if held is None:
            return None
        session = _decode(held)
        seal = self._seal(session.user, session.role)
        if not seal or not hmac.compare_digest(session.seal, seal):
            return None
        user = (
            self._users.find(session.user)
            if session.role is None
            else Principal(session.user, session.role)
        )
        return None if user is None else (user, session)

    async def end(self, name: str) -> None:
        """Log out."""
        with translated():
            await self._client.delete(self._key(name))

    def _seal(self, name: str, role: Role | None) -> str:
        """Digest what lets somebody in now; empty where nothing does."""
        kept = self._users.secrets_of(name) if role is None else self._issuer
        return hashlib.sha256(kept.encode()).hexdigest() if kept else ""

    def _key(self, name: str) -> str:
        return self._prefix + hashlib.sha256(name.encode()).hexdigest()

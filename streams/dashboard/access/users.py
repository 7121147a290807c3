"""Who is who: names, roles, passwords and tokens, as the settings have them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from streams.errors import SettingsError
from streams.settings import DashboardUser

Role = Literal["viewer", "analyst"]

LOCAL: Final = "local"
"""Who acts where nobody has to say who they are."""

NOBODY: Final = "-"
"""Who is on record where nobody was let in."""

_MARK: Final = "tocsin_"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whom we know."""

    name: str
    role: Role

    @property
    def may_act(self) -> bool:
        """Whether they may change anything."""
        return self.role == "analyst"


class Users:
    """Checks what somebody says about themselves.

    Raises:
        SettingsError: a secret is not what `hash_password` or `new_token` gives.
    """

    def __init__(self, users: Mapping[str, DashboardUser]) -> None:
        self._hasher = PasswordHasher()
        self._users = dict(users)
        self._tokens: dict[str, str] = {}  # hash: user
        for name, user in users.items():
            self._check(name, user)
            if token := user.token.get_secret_value():
                self._tokens[token.lower()] = name
        # For a name that does not exist, so that its answer takes as long as another's.
        self._decoy = self._hasher.hash(secrets.token_hex(16))

    def __bool__(self) -> bool:
        return bool(self._users)

    def find(self, name: str) -> Principal | None:
        """Look somebody up; None for one who is not (any more) in the settings."""
        user = self._users.get(name)
        return None if user is None else Principal(name, user.role)

    def secrets_of(self, name: str) -> str:
        """Give what the settings hold of somebody's secrets; empty for one who is not there."""
        user = self._users.get(name)
        if user is None:
            return ""
        return f"{user.password.get_secret_value()} {user.token.get_secret_value()}"

    def has_name(self, name: str) -> bool:
        """Whether records by this name are somebody's of the settings, or nobody's."""
        return name in self._users or name in {LOCAL, NOBODY}

    def by_password(self, name: str, password: str) -> Principal | None:
        """Check a password; takes about 50 ms of a core, whoever asks."""
        user = self._users.get(name)
        kept = user.password.get_secret_value() if user else ""
        try:
            self._hasher.verify(kept or self._decoy, password)
        except VerificationError:
            return None
        return self.find(name) if kept else None

    def by_token(self, token: str) -> Principal | None:
        """Check a token."""
        given = hash_token(token)
        for kept, name in self._tokens.items():
            if hmac.compare_digest(kept, given):
                return self.find(name)
        return None

    def _check(self, name: str, user: DashboardUser) -> None:
        place = f"setting dashboard.users.{name}"
        password, token = user.password.get_secret_value(), user.token.get_secret_value()
        how = "run `tocsin dashboard credentials`, which prints it"
        if not name or len(name) > 128:
            raise SettingsError("setting dashboard.users: a name has 1 to 128 characters")
        if not password and not token:
            raise SettingsError(f"{place} has neither password nor token: {how}")
        if token and (len(token) != 64 or not set(token.lower()) <= set("0123456789abcdef")):
            raise SettingsError(f"{place}.token is not the SHA-256 of one: {how}")
        if password:
            try:
                self._hasher.check_needs_rehash(password)
            except (InvalidHashError, ValueError):
                raise SettingsError(f"{place}.password is no argon2 hash: {how}") from None


def hash_password(password: str) -> str:
    """Give what the settings hold of a password."""
    return PasswordHasher().hash(password)


def new_token() -> tuple[str, str]:
    """Make a token of 256 random bits; give it, and what the settings hold of it."""
    token = _MARK + secrets.token_urlsafe(32)
    return token, hash_token(token)


def hash_token(token: str) -> str:
    """Hash a token. Plain SHA-256 will do: nobody guesses 256 random bits."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()

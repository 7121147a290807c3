"""A session lasts for as long as what let its user in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.dashboard.access.sessions import Sessions
from streams.dashboard.access.users import Principal, Users, hash_password, new_token
from streams.settings import DashboardSettings

OLD, NEW = hash_password("correct horse battery"), hash_password("another one")
_, TOKEN = new_token()
ANN = {"role": "analyst", "password": OLD}
OIDC = {"issuer": "https://login.example", "client_id": "tocsin"}
BEFORE = {"users": {"ann": ANN}, "oidc": OIDC}


class Memory:
    """What Redis holds."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    async def set(self, key: str, value: bytes, ex: int) -> None:
        self.held[key] = value

    async def get(self, key: str) -> bytes | None:
        return self.held.get(key)


def after(
    settings: dict[str, Any], user: Principal, *, id_token: str = ""
) -> tuple[Principal | None, bytes]:
    """Whom a session of before is of where a dashboard begins with `settings`; and what is held."""
    memory = Memory()

    def sessions(given: dict[str, Any]) -> Sessions:
        made = DashboardSettings.model_validate(given)
        return Sessions(memory, made, Users(made.users))

    async def use() -> Principal | None:
        name, _ = await sessions(BEFORE).begin(user, id_token)
        found = await sessions(settings).find(name)
        return None if found is None else found[0]

    return asyncio.run(use()), next(iter(memory.held.values()))


@pytest.mark.parametrize(
    ("user", "role"),
    [
        (ANN, "analyst"),
        ({**ANN, "role": "viewer"}, "viewer"),
        ({**ANN, "password": NEW}, None),
        ({**ANN, "token": TOKEN}, None),
        ({"role": "analyst", "token": TOKEN}, None),
        (None, None),
    ],
    ids=["as before", "another role", "another password", "a token", "a token alone", "gone"],
)
def test_a_session_ends_with_the_secret_that_began_it(
    user: dict[str, str] | None, role: Any
) -> None:
    users = {"bob": ANN} | ({} if user is None else {"ann": user})
    found, held = after({**BEFORE, "users": users}, Principal("ann", "analyst"))
    assert found == (None if role is None else Principal("ann", role))
    assert OLD.encode() not in held


@pytest.mark.parametrize(
    ("oidc", "is_known"),
    [(OIDC, True), ({**OIDC, "issuer": "https://other.example"}, False), ({}, False)],
)
def test_a_session_by_a_provider_ends_with_it(oidc: dict[str, str], *, is_known: bool) -> None:
    vic = Principal("vic", "viewer")
    found, _ = after({**BEFORE, "oidc": oidc}, vic, id_token="a.b.c")
    assert found == (vic if is_known else None)

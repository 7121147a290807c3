"""The login page: where it leads, and what it says where nobody can come in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from streams.dashboard.access.guard import Guard
from streams.dashboard.access.oidc import Attempt, Identity
from streams.dashboard.access.sessions import Session
from streams.dashboard.access.users import Principal, Users, hash_password
from streams.dashboard.pages import login, oidc
from streams.errors import BrokerError, StoreUnavailable, TocsinError
from streams.settings import DashboardSettings

PASSWORD = "correct horse battery"
SETTINGS = DashboardSettings.model_validate(
    {"users": {"ann": {"role": "analyst", "password": hash_password(PASSWORD)}}}
)
FITS = {"user": "ann", "password": PASSWORD}


class Site:
    """A dashboard's logins, with a Redis and a Kafka that fail when told to."""

    def __init__(self) -> None:
        self.redis: TocsinError | None = None
        self.kafka: TocsinError | None = None
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.lifetime_s = 60
        users = Users(SETTINGS.users)
        services = SimpleNamespace(
            users=users,
            sessions=self,
            attempts=SimpleNamespace(begin=self._attempt, succeeded=self._attempt),
            desk=SimpleNamespace(record=self._record),
            provider=SimpleNamespace(begin=self._go, finish=self._finish),
            settings=SimpleNamespace(dashboard=SETTINGS),
        )
        app = FastAPI()
        app.state.services = services
        app.include_router(login.router)
        app.include_router(oidc.router)
        made: Any = self
        self._app = Guard(app, settings=SETTINGS, users=users, sessions=made)

    async def ask(self, method: str, path: str, **rest: Any) -> httpx.Response:
        """One request of a browser without cookies but these."""
        transport = httpx.ASGITransport(self._app)
        headers = {"accept": "text/html"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", headers=headers
        ) as client:
            client.cookies.update(rest.pop("cookies", {}))
            return await client.request(method, path, **rest)

    def asked(self, method: str, path: str, **rest: Any) -> httpx.Response:
        return asyncio.run(self.ask(method, path, **rest))

    async def find(self, name: str) -> tuple[Principal, Session] | None:
        await self._attempt()
        return (Principal("ann", "analyst"), Session("ann", "csrf")) if name == "held" else None

    async def begin(self, who: Principal, id_token: str = "") -> tuple[str, Session]:
        await self._attempt()
        self.begun.append(who.name)
        return "new", Session(who.name, "csrf", None, id_token)

    async def end(self, name: str) -> None:
        self.ended.append(name)

    async def _attempt(self, *_: object) -> int:
        if self.redis is not None:
            raise self.redis
        return 0

    async def _record(self, *_: object) -> None:
        if self.kafka is not None:
            raise self.kafka

    async def _go(self, back: str) -> tuple[str, Attempt]:
        return "https://login.example/", Attempt("state", "nonce", "verifier", back)

    async def _finish(self, code: str, attempt: Attempt) -> Identity:
        return Identity(Principal("ann", "analyst"), "token")


def by_openid(site: Site, to: str) -> str:
    there = site.asked("GET", "/login/oidc", params={"to": to})
    back = {"state": "state", "code": "code"}
    answer = site.asked("GET", "/login/oidc/callback", params=back, cookies=dict(there.cookies))
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_a_login_leads_to_the_page_that_was_wanted() -> None:
    site, wanted = Site(), "/alerts/a%2Fb?x=%22"
    page = site.asked("GET", "/login", params={"to": wanted}).text
    assert f'name="to" value="{wanted}"' in page
    assert 'href="/login/oidc?to=%2Falerts%2Fa%252Fb%3Fx%3D%2522"' in page
    refused = site.asked("POST", "/login", data={**FITS, "password": "a guess", "to": wanted})
    assert refused.status_code == 401
    assert f'name="to" value="{wanted}"' in refused.text
    let_in = site.asked("POST", "/login", data={**FITS, "to": wanted})
    assert (let_in.status_code, let_in.headers["location"]) == (303, wanted)
    known = site.asked("GET", "/login", params={"to": wanted}, cookies={"tocsin_session": "held"})
    assert (known.status_code, known.headers["location"]) == (303, wanted)
    assert by_openid(site, wanted) == wanted


@pytest.mark.parametrize(
    "to", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/"]
)
def test_a_login_leads_to_no_other_site(to: str) -> None:
    site = Site()
    page = site.asked("GET", "/login", params={"to": to}).text
    assert 'name="to" value="/"' in page
    assert 'href="/login/oidc"' in page
    assert site.asked("POST", "/login", data={**FITS, "to": to}).headers["location"] == "/"
    assert by_openid(site, to) == "/"


def test_a_target_that_names_parts_of_the_page_is_text() -> None:
    page = Site().asked("GET", "/login", params={"to": "/{message}{form}<"}).text
    assert 'value="/{message}{form}&lt;"' in page
    assert page.count('name="password"') == 1


@pytest.mark.parametrize(
    ("redis", "kafka"),
    [(StoreUnavailable("no Redis & no rows"), None), (None, BrokerError("no Redis & no rows"))],
)
@pytest.mark.parametrize("held", [{}, {"tocsin_session": "held"}])
def test_while_a_server_is_away_the_form_says_so(
    redis: TocsinError | None, kafka: TocsinError | None, held: dict[str, str]
) -> None:
    site = Site()
    cookies = {**dict(site.asked("GET", "/login/oidc").cookies), **held}
    site.redis, site.kafka = redis, kafka
    by_name = site.asked("POST", "/login", data={**FITS, "to": "/health"}, cookies=held)
    back = {"state": "state", "code": "code"}
    by_provider = site.asked("GET", "/login/oidc/callback", params=back, cookies=cookies)
    for answer in (by_name, by_provider):
        assert answer.status_code == 503
        assert answer.headers["content-type"].startswith("text/html")
        assert "nobody can log in now: no Redis &amp; no rows" in answer.text
    assert 'name="to" value="/health"' in by_name.text


def test_the_form_is_there_while_redis_is_away_and_other_pages_say_so() -> None:
    site = Site()
    site.redis = StoreUnavailable("no Redis")
    held = {"tocsin_session": "held"}
    assert 'name="password"' in site.asked("GET", "/login", cookies=held).text
    assert site.asked("GET", "/health", cookies=held).status_code == 503


def test_a_form_of_before_another_tab_logged_in_logs_in_anew() -> None:
    site, held = Site(), {"tocsin_session": "held"}
    answer = site.asked("POST", "/login", data=FITS, cookies=held)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (site.begun, site.ended) == (["ann"], ["held"])
    foreign = {"origin": "https://evil.example"}
    answer = site.asked("POST", "/login", data=FITS, cookies=held, headers=foreign)
    assert answer.status_code == 403
    assert site.asked("POST", "/api/verdicts", cookies=held).status_code == 403

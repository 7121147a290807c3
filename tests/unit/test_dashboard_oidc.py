"""A login provider is believed where signature, issuer, audience, times and nonce fit."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from pydantic import SecretStr

from streams.dashboard.access.oidc import Attempt, Provider, provider_of
from streams.dashboard.access.users import Principal, Users
from streams.errors import LoginRefused, SettingsError, TocsinError
from streams.settings import DashboardUser, OidcSettings

ISSUER = "https://login.example/realm"
BACK = "https://tocsin.example/login/oidc/callback"
OURS = RSAKey.generate_key(2048, {"kid": "one"})
OTHER = RSAKey.generate_key(2048, {"kid": "one"})
SECRET = "a secret that is long enough for HS256"


class Login:
    """A provider behind a transport, and one login with it; `answer` is what the test changes."""

    def __init__(self, **settings: Any) -> None:
        given = {"issuer": ISSUER, "client_id": "tocsin", "client_secret": SECRET, **settings}
        transport = httpx.MockTransport(self._answer)
        self.provider = Provider(
            OidcSettings.model_validate(given),
            Users({"bob": DashboardUser(token=SecretStr("0" * 64))}).has_name,
            lambda: httpx.AsyncClient(transport=transport),
        )
        self.claims: dict[str, Any] = {}
        self.key: Any = OURS
        self.served: list[RSAKey] = [OURS]
        self.header = {"alg": "RS256", "kid": "one"}
        self.metadata: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize?tenant=7",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }
        self.token: httpx.Response | None = None
        self.asked: list[httpx.Request] = []
        self.attempt = Attempt("", "", "", BACK)
        self.sent: dict[str, str] = {}

    def begin(self) -> dict[str, str]:
        """Parameters of the address that the browser is sent to."""
        address, self.attempt = asyncio.run(self.provider.begin(BACK))
        query = parse_qs(urlsplit(address).query)
        self.sent = {name: value for name, (value,) in query.items()}
        return self.sent

    def finish(self) -> Principal:
        self.begin()
        return asyncio.run(self.provider.finish("the code", self.attempt)).principal

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.path.endswith("/openid-configuration"):
            return httpx.Response(200, json=self.metadata)
        if request.url.path.endswith("/keys"):
            keys = KeySet(list(self.served)).as_dict(private=False)
            return httpx.Response(200, json=keys)
        if self.token is not None:
            return self.token
        now = round(time.time())
        claims = {
            "iss": ISSUER,
            "aud": "tocsin",
            "sub": "7",
            "iat": now,
            "exp": now + 300,
            "nonce": self.attempt.nonce,
            "preferred_username": "ann",
            "roles": ["tocsin-analyst", "other"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(self.header, claims, self.key, algorithms=[self.header["alg"]])
        return httpx.Response(200, json={"id_token": token, "access_token": "x"})


def test_the_browser_is_sent_with_state_nonce_and_a_challenge() -> None:
    login = Login()
    sent, again = login.begin(), login.begin()
    assert sent["tenant"] == "7"
    assert (sent["response_type"], sent["client_id"]) == ("code", "tocsin")
    assert (sent["redirect_uri"], sent["scope"]) == (BACK, "openid profile email")
    assert sent["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert len(sent[name]) >= 43
        assert sent[name] != again[name]


def test_an_analyst_comes_in_with_the_verifier_of_the_challenge() -> None:
    login = Login()
    assert login.finish() == Principal("ann", "analyst")
    (asked,) = (one for one in login.asked if one.url.path.endswith("/token"))
    form = {name: value for name, (value,) in parse_qs(asked.content.decode()).items()}
    assert form["grant_type"] == "authorization_code"
    assert (form["code"], form["redirect_uri"]) == ("the code", BACK)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
    assert challenge.rstrip(b"=").decode() == login.sent["code_challenge"]
    assert asked.headers["authorization"].startswith("Basic ")
    assert "client_id" not in form


def test_a_public_client_has_no_secret_to_send() -> None:
    login = Login(client_secret="")
    login.finish()
    asked = next(one for one in login.asked if one.url.path.endswith("/token"))
    assert "authorization" not in asked.headers
    assert b"client_id=tocsin" in asked.content


@pytest.mark.parametrize(
    ("claims", "settings", "who"),
    [
        ({"roles": "tocsin-viewer x"}, {}, Principal("ann", "viewer")),
        ({"preferred_username": None, "email": "a@b"}, {}, Principal("a@b", "analyst")),
        ({}, {"name_claim": "sub"}, Principal("7", "analyst")),
        (
            {"realm_access": {"roles": ["fraud-desk"]}},
            {"role_claim": "realm_access.roles", "analysts": ["fraud-desk"]},
            Principal("ann", "analyst"),
        ),
        (
            {"https://a.example/roles": ["v"]},
            {"role_claim": "https://a.example/roles", "viewers": ["v"]},
            Principal("ann", "viewer"),
        ),
    ],
)
def test_claims_become_a_name_and_a_role(
    claims: dict[str, Any], settings: dict[str, Any], who: Principal
) -> None:
    login = Login(**settings)
    login.claims = claims
    assert login.finish() == who


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.example"}, "not for us: .*iss"),
        ({"aud": "another"}, "not for us: .*aud"),
        ({"aud": ["tocsin", "another"]}, "not for us: .*azp"),
        ({"exp": 1000}, "not for us: .*expired"),
        ({"exp": None}, "not for us: .*exp"),
        ({"nonce": "of another login"}, "not for us: .*nonce"),
        ({"nonce": None}, "not for us: .*nonce"),
        ({"roles": None}, "ann has no role here: the provider's 'roles' names none of"),
        ({"roles": ["admin"]}, "ann has no role here"),
        ({"roles": {"tocsin-analyst": True}}, "ann has no role here"),
    ],
)
def test_a_token_that_is_not_for_us_is_refused(claims: dict[str, Any], why: str) -> None:
    login = Login()
    login.claims = claims
    with pytest.raises(LoginRefused, match=why):
        login.finish()


@pytest.mark.parametrize("name", ["bob", "local", "-"])
def test_nobody_comes_in_under_a_name_that_is_somebody_elses_here(name: str) -> None:
    login = Login()
    login.claims["preferred_username"] = name
    with pytest.raises(LoginRefused, match=f"'{name}' is somebody else here"):
        login.finish()


def test_a_signature_that_is_not_the_providers_is_refused() -> None:
    login = Login()
    login.key = OTHER
    with pytest.raises(LoginRefused, match="not for us"):
        login.finish()
    login.key = OctKey.import_key(SECRET)
    login.header = {"alg": "HS256"}  # which whoever knows the client's secret could make
    with pytest.raises(LoginRefused, match="not for us"):
        login.finish()


def test_keys_that_the_provider_has_changed_are_fetched_again() -> None:
    login = Login()
    login.finish()
    login.key = RSAKey.generate_key(2048, {"kid": "two"})
    login.header = {"alg": "RS256", "kid": "two"}
    login.served = [login.key]
    assert login.finish() == Principal("ann", "analyst")
    assert sum(one.url.path.endswith("/keys") for one in login.asked) == 2


def test_a_provider_of_another_name_or_out_of_order_is_not_asked_further() -> None:
    login = Login()
    login.metadata["issuer"] = "https://evil.example"
    with pytest.raises(LoginRefused, match=r"set dashboard\.oidc\.issuer to what it says"):
        login.begin()
    login.metadata = {"issuer": ISSUER}
    with pytest.raises(TocsinError, match="it is no OpenID provider"):
        login.begin()
    login = Login()
    login.token = httpx.Response(400, json={"error": "invalid_grant"})
    with pytest.raises(LoginRefused, match="refuses: invalid_grant"):
        login.finish()
    login.token = httpx.Response(502, content=b"<html>")
    with pytest.raises(TocsinError, match="answers 502, no JSON"):
        login.finish()


def test_the_providers_session_ends_where_it_has_a_place_for_that() -> None:
    login = Login()
    assert asyncio.run(login.provider.end("token", "https://a/login")) is None
    login = Login()
    login.metadata["end_session_endpoint"] = f"{ISSUER}/end"
    address = asyncio.run(login.provider.end("token", "https://a/login"))
    assert address == (
        f"{ISSUER}/end?id_token_hint=token&post_logout_redirect_uri=https%3A%2F%2Fa%2Flogin"
    )


def test_settings_that_cannot_be_trusted_are_refused() -> None:
    def made(**settings: str) -> Provider | None:
        return provider_of(OidcSettings.model_validate(settings), lambda name: False)

    assert made() is None
    assert made(issuer="http://localhost:9400", client_id="x")
    with pytest.raises(SettingsError, match="must begin with https"):
        made(issuer="http://login.example", client_id="x")
    with pytest.raises(SettingsError, match="client_id is not set"):
        made(issuer=ISSUER)

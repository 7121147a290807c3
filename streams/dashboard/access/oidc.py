"""Who somebody is, as an OpenID Connect provider says: code flow with PKCE, state and nonce.

https://openid.net/specs/openid-connect-core-1_0.html, sections 3.1.2 (the code flow) and 3.1.3.7
(what is checked of an ID token). Addresses, PKCE and claims are Authlib's work, signatures
joserfc's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import msgspec
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from streams.dashboard.access.users import Principal, Role
from streams.errors import LoginRefused, SettingsError, TocsinError
from streams.settings import OidcSettings

_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384")
"""Signatures by a key of the provider alone: with a shared secret whoever has it may sign."""

_LEEWAY_S: Final = 60
"""That two clocks may be apart."""

_TIMEOUT_S: Final = 10.0
_KEYS_FOR_S: Final = 3600.0


class Attempt(Struct, frozen=True):
    """A login that has begun: what the browser keeps until it comes back from the provider."""

    state: str
    nonce: str
    verifier: str
    back: str
    """Where the provider sends it."""

    to: str = "/"
    """Where it goes then; the browser says so, so look at it again."""


class Identity(Struct, frozen=True):
    """Somebody whom the provider knows, in a role of ours; with the token that says so."""

    principal: Principal
    id_token: str


class Provider:
    """One provider, found by its issuer's address; `is_taken` tells which names are others'.

    Every coroutine raises `LoginRefused` for a person who may not come in, and `TocsinError` where
    the provider does not answer, or as none would.
    """

    def __init__(
        self,
        settings: OidcSettings,
        is_taken: Callable[[str], bool],
        client: Callable[[], httpx.AsyncClient] = lambda: httpx.AsyncClient(timeout=_TIMEOUT_S),
    ) -> None:
        self._settings, self._is_taken, self._client = settings, is_taken, client
        self._secret = settings.client_secret.get_secret_value()
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._keys_at = -_KEYS_FOR_S

    async def begin(self, back: str) -> tuple[str, Attempt]:
        """Begin a login that comes back to `back`; give the address to send the browser to."""
        metadata = await self._discovered()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        attempt = Attempt(state, nonce, verifier, back)
        address: str = prepare_grant_uri(
            metadata["authorization_endpoint"],
            self._settings.client_id,
            "code",
            redirect_uri=back,
            scope=" ".join(self._settings.scopes),
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return address, attempt

    async def finish(self, code: str, attempt: Attempt) -> Identity:
        """Change the code that the browser brought for a token, and read who it is."""
        metadata = await self._discovered()
        token = await self._asked(
            "POST",
            metadata["token_endpoint"],
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": attempt.back,
                "code_verifier": attempt.verifier,
                **({} if self._secret else {"client_id": self._settings.client_id}),
            },
            auth=(self._settings.client_id, self._secret) if self._secret else None,
        )
        id_token = token.get("id_token")
        if not isinstance(id_token, str):
            raise LoginRefused("the provider sent no ID token: ask for the scope openid")
        claims = await self._claims(id_token, attempt.nonce, token.get("access_token"))
        return Identity(self._principal(claims), id_token)

    async def end(self, id_token: str, back: str) -> str | None:
        """Give the address where the provider ends its own session; None where it has none."""
        address = (await self._discovered()).get("end_session_endpoint")
        if not address:
            return None
        ending: str = add_params_to_uri(
            address, {"id_token_hint": id_token, "post_logout_redirect_uri": back}.items()
        )
        return ending

    # -- what the provider says -------------------------------------------------------------------
    async def _claims(self, id_token: str, nonce: str, access_token: object) -> CodeIDToken:
        """Check a token's signature, issuer, audience, times and nonce."""
        known = (await self._discovered()).get("id_token_signing_alg_values_supported", ["RS256"])
        algorithms = [name for name in _ALGORITHMS if name in known]
        try:
            try:
                token = jwt.decode(id_token, await self._key_set(), algorithms=algorithms)
            except InvalidKeyIdError:  # the provider has changed its keys
                token = jwt.decode(id_token, await self._key_set(anew=True), algorithms=algorithms)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self._settings.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
                {
                    "nonce": nonce,
                    "client_id": self._settings.client_id,
                    "access_token": access_token,
                },
            )
            claims.validate(leeway=_LEEWAY_S)
        except (JoseError, ValueError, TypeError) as error:
            raise LoginRefused(f"the provider's token is not for us: {error}") from None
        return claims

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        settings = self._settings
        name = next(
            (
                str(claims[claim])
                for claim in (settings.name_claim, "preferred_username", "email", "sub")
                if claims.get(claim)
            ),
            "",
        )[:128]
        roles = _listed(_claim(claims, settings.role_claim))
        role: Role
        if roles & set(settings.analysts):
            role = "analyst"
        elif roles & set(settings.viewers):
            role = "viewer"
        else:
            wanted = ", ".join((*settings.analysts, *settings.viewers))
            raise LoginRefused(
                f"{name} has no role here: the provider's {settings.role_claim!r} names none of "
                f"{wanted}. Ask whoever runs this for one"
            )
        if self._is_taken(name):  # on record nobody could tell them apart
            raise LoginRefused(
                f"{name!r} is somebody else here, who does not log in by the provider: take the "
                "name out of dashboard.users, or set dashboard.oidc.name_claim to another claim"
            )
        return Principal(name, role)

    async def _discovered(self) -> dict[str, Any]:
        if not self._metadata:
            place = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await self._asked("GET", place)
            if found.get("issuer") != self._settings.issuer:
                raise LoginRefused(
                    f"{place} is of the issuer {found.get('issuer')!r}, not of "
                    f"{self._settings.issuer!r}: set dashboard.oidc.issuer to what it says"
                )
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                if not isinstance(found.get(name), str):
                    raise TocsinError(f"{place} has no {name}: it is no OpenID provider")
            self._metadata = found
        return self._metadata

    async def _key_set(self, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew or time.monotonic() - self._keys_at > _KEYS_FOR_S:
            found: Any = await self._asked("GET", (await self._discovered())["jwks_uri"])
            self._keys, self._keys_at = KeySet.import_key_set(found), time.monotonic()
        return self._keys

    async def _asked(self, method: str, address: str, **request: Any) -> dict[str, Any]:
        try:
            async with self._client() as client:
                answer = await client.request(method, address, **request)
            found = msgspec.json.decode(answer.content, type=dict[str, Any])
        except httpx.HTTPError as error:
            raise TocsinError(
                f"the login provider does not answer ({type(error).__name__}): try again"
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise TocsinError(f"the login provider answers {answer.status_code}, no JSON") from None
        if answer.status_code >= 400:
            why = found.get("error_description") or found.get("error") or answer.status_code
            raise LoginRefused(f"the login provider refuses: {why}")
        return found


def provider_of(settings: OidcSettings, is_taken: Callable[[str], bool]) -> Provider | None:
    """Make the provider of the settings; None where they name none.

    Raises:
        SettingsError: a login by it could not be trusted; the message says what is missing.
    """
    if not settings.issuer:
        return None
    address = httpx.URL(settings.issuer)
    if address.scheme != "https" and address.host not in {"localhost", "127.0.0.1", "::1"}:
        raise SettingsError("dashboard.oidc.issuer must begin with https://")
    if not settings.client_id:
        raise SettingsError("dashboard.oidc.client_id is not set: the provider gives it")
    return Provider(settings, is_taken)


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Find a claim by its name, or by a path of names: ``realm_access.roles``."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _listed(value: Any) -> set[str]:
    if isinstance(value, str):
        return set(value.split())
    return {one for one in value if isinstance(one, str)} if isinstance(value, list) else set()

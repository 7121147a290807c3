"""Log in by way of an OpenID Connect provider: there, and back again."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from msgspec.structs import replace

from streams.dashboard.access.guard import cookie_of
from streams.dashboard.access.oidc import Attempt, Provider
from streams.dashboard.access.target import HOME, target_of
from streams.dashboard.access.users import NOBODY
from streams.dashboard.api.session import enter
from streams.dashboard.pages.login import own_address, page_of, unavailable
from streams.dashboard.services import Services
from streams.errors import BrokerError, LoginRefused, NotFound, StoreError, TocsinError

router = APIRouter(include_in_schema=False)

CALLBACK: Final = "/login/oidc/callback"
_COOKIE: Final = "tocsin_login"
_MINUTES: Final = 10
"""For a login at the provider, second factor and all."""

Word = Annotated[str, Query(max_length=4096)]


@router.get("/login/oidc")
async def go(request: Request, to: Word = "") -> Response:
    """Send the browser to the provider; it keeps what it must bring back in a cookie."""
    has: Services = request.app.state.services
    back = f"{own_address(request, has)}{CALLBACK}"
    try:
        address, attempt = await _provider(has).begin(back)
    except TocsinError as error:
        return _refusal(error, has, target_of(to))
    attempt = replace(attempt, to=target_of(to))
    response = RedirectResponse(address, 303)
    response.set_cookie(
        _COOKIE,
        urlsafe_b64encode(msgspec.json.encode(attempt)).decode(),
        max_age=60 * _MINUTES,
        path="/login/oidc",
        httponly=True,
        secure=has.settings.dashboard.https,
        samesite="lax",  # it comes along when the provider sends the browser back
    )
    return response


@router.get(CALLBACK)
async def back(
    request: Request,
    state: Word = "",
    code: Word = "",
    error: Word = "",
    *,
    error_description: Word = "",
) -> Response:
    """Take the browser back from the provider, with who it is, and let them in."""
    has: Services = request.app.state.services
    attempt = _attempt(request.cookies.get(_COOKIE, ""))
    target = HOME if attempt is None else target_of(attempt.to)
    try:
        refused = f"the login provider refuses: {error_description or error}"
        answer = _Answer(state, code, refused if error or not code else "")
        response = await _let_in(request, has, attempt, target, answer)
    except (BrokerError, StoreError) as away:
        response = unavailable(has, target, away)
    if response.status_code != 429:  # it may go on after a while
        response.delete_cookie(_COOKIE, path="/login/oidc")
    return response


class _Answer(NamedTuple):
    """What the provider sent the browser back with; `refusal` is empty for a code."""

    state: str
    code: str
    refusal: str


async def _let_in(
    request: Request, has: Services, attempt: Attempt | None, target: str, answer: _Answer
) -> Response:
    provider = _provider(has)
    address = request.client.host if request.client else ""
    if wait := await has.attempts.begin(None, address):
        page = page_of(has, target, f"too many attempts: try again in {wait} s")
        return HTMLResponse(page, 429, {"retry-after": str(wait)})
    try:
        # 1. It must be the browser that went there, with the login that it began.
        if attempt is None or not hmac.compare_digest(
            attempt.state.encode(), answer.state.encode()
        ):
            raise LoginRefused("this login was not begun here, or took too long: log in again")
        # 2. The provider's word.
        if answer.refusal:
            raise LoginRefused(answer.refusal)
        identity = await provider.finish(answer.code, attempt)
    except TocsinError as refusal:
        await has.desk.record(NOBODY, "login refused", f"from {address}, by OpenID: {refusal}")
        return _refusal(refusal, has, target)
    # 3. A session like any other, on the page that was wanted.
    await has.attempts.succeeded(None, address)
    response = RedirectResponse(target, 303)
    before = cookie_of(request.headers)
    await enter(has, response, identity.principal, before, id_token=identity.id_token)
    return response


def _provider(has: Services) -> Provider:
    if has.provider is None:
        raise NotFound("nobody logs in by OpenID here: dashboard.oidc.issuer is not set")
    return has.provider


def _attempt(cookie: str) -> Attempt | None:
    try:
        return msgspec.json.decode(urlsafe_b64decode(cookie), type=Attempt)
    except (ValueError, msgspec.DecodeError):
        return None


def _refusal(error: TocsinError, has: Services, target: str) -> Response:
    status = 403 if isinstance(error, LoginRefused) else 503
    return HTMLResponse(page_of(has, target, str(error)), status)

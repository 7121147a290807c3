"""Log in, log out, and ask who one is."""

from __future__ import annotations

import asyncio
import logging

from fastapi import APIRouter, HTTPException, Request, Response

from streams.dashboard.access.guard import COOKIE, cookie_of
from streams.dashboard.access.sessions import Session
from streams.dashboard.access.users import NOBODY, Principal
from streams.dashboard.api.bodies import Error, LoginIn, SessionOut
from streams.dashboard.api.requests import Has
from streams.dashboard.services import Services
from streams.errors import BrokerError

log = logging.getLogger(__name__)

router = APIRouter(
    tags=["session"],
    responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}},
)


@router.get("/session", responses={401: {"model": Error}})
async def who_am_i(request: Request) -> SessionOut:
    """Say who is asking."""
    principal: Principal | None = request.state.principal
    if principal is None:
        raise HTTPException(401, "log in first")
    session = request.state.session
    csrf = None if session is None else session.csrf
    return SessionOut(user=principal.name, role=principal.role, csrf=csrf)


@router.post(
    "/session", responses={401: {"model": Error}, 409: {"model": Error}, 429: {"model": Error}}
)
async def log_in(login: LoginIn, request: Request, response: Response, has: Has) -> SessionOut:
    """Log in; the session's id goes into a cookie that scripts cannot read."""
    if not has.users:
        raise HTTPException(409, "nobody logs in by name here: dashboard.users is empty")
    principal = await _known(login, request, has)
    session = await enter(has, response, principal, cookie_of(request.headers))
    return SessionOut(user=principal.name, role=principal.role, csrf=session.csrf)


async def enter(
    has: Services, response: Response, who: Principal, before: str | None, *, id_token: str = ""
) -> Session:
    """Begin somebody's session, in a cookie of `response`; the one from `before` ends."""
    if before is not None:
        await has.sessions.end(before)  # an id from before the login is worth nothing after it
    name, session = await has.sessions.begin(who, id_token)
    await has.desk.record(who.name, "login", "by OpenID" if id_token else "")
    response.set_cookie(
        COOKIE,
        name,
        max_age=has.sessions.lifetime_s,
        httponly=True,
        secure=has.settings.dashboard.https,
        samesite="lax",
    )
    return session


async def leave(has: Services, cookie: str, user: str) -> None:
    """End somebody's session; who is out stays out, also where that cannot be put on record.

    Raises:
        StoreError: it has not ended.
    """
    await has.sessions.end(cookie)
    try:
        await has.desk.record(user, "logout")
    except BrokerError as error:
        log.warning("a logout of %s is not on record: %s", user, error)


@router.delete("/session", status_code=204, response_class=Response)
async def log_out(request: Request, has: Has) -> Response:
    """Log out."""
    cookie, session = request.state.cookie, request.state.session
    if cookie is not None and session is not None:
        await leave(has, cookie, session.user)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response


async def _known(login: LoginIn, request: Request, has: Services) -> Principal:
    address = request.client.host if request.client else ""
    # A token names its user itself: whoever comes with one says nothing about another's password.
    name = None if login.token else login.user
    if wait := await has.attempts.begin(name, address):
        raise HTTPException(
            429, f"too many attempts: try again in {wait} s", {"retry-after": str(wait)}
        )
    if login.token:
        found = has.users.by_token(login.token)
    else:
        # Argon2 is slow on purpose, and releases the GIL.
        found = await asyncio.to_thread(has.users.by_password, login.user, login.password)
    if found is None:
        await has.desk.record(name or NOBODY, "login refused", f"from {address}")
        raise HTTPException(401, "name and password, or token, do not fit")
    await has.attempts.succeeded(name, address)
    return found

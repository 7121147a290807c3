"""What every request passes first, websockets too: host, origin, who it is, and the headers.

1. The ``Host`` must be one of ours. 2. What changes something, and a websocket, must come from a
page of ours. 3. Whoever asks must be known, but for the login page and what it is made of; a
websocket lasts no longer than that. 4. A browser that changes something must bring its session's
CSRF token, but for the login's form, which has none. 5. A body must fit. 6. Answers carry the
policy.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.dashboard.access.bind import allowed_hosts, is_allowed
from streams.dashboard.access.policy import security_headers, with_nonce
from streams.dashboard.access.sessions import Sessions
from streams.dashboard.access.target import LOGIN, is_login, login_address, wanted_of
from streams.dashboard.access.users import LOCAL, Principal, Users
from streams.ending import end
from streams.errors import StoreError
from streams.settings import DashboardSettings

COOKIE: Final = "tocsin_session"
CSRF_HEADER: Final = "x-csrf-token"

LOOK_S: Final = 5.0
"""How often one who stays connected is looked up again: a logout ends that too."""

_BODY: Final = 1024 * 1024
_BODY_OF_A_STRANGER: Final = 16 * 1024
"""Bytes of a body at most: it is read before anything else happens."""

_SAFE: Final = {"GET", "HEAD", "OPTIONS"}
_OPEN_PATHS: Final = {"/login", "/api/session", "/livez", "/readyz", "/favicon.ico"}
_OPEN_PREFIXES: Final = ("/assets/", "/login/")


class Guard:
    """ASGI middleware; leaves who asks in ``scope["state"]``: `principal`, `session`, `cookie`.

    `is_known` there is a coroutine function that looks whether they still are.
    """

    def __init__(
        self, app: ASGIApp, *, settings: DashboardSettings, users: Users, sessions: Sessions
    ) -> None:
        self._app, self._users, self._sessions = app, users, sessions
        self._hosts = allowed_hosts(settings)
        self._https, self._has_logins = settings.https, settings.has_logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            refusal = await self._refusal(scope, headers)
        except StoreError as error:
            refusal = _unavailable(error, for_page=_wants_page(headers, scope["path"]))
        if scope["type"] == "websocket":
            if refusal is not None:
                await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
                return
            await self._stay(scope, receive, send)
            return
        sender = _Sender(send, secrets.token_urlsafe(16), https=self._https)
        if refusal is None and scope["method"] not in _SAFE:
            # 5. Body.
            most = _BODY if scope["state"]["principal"] is not None else _BODY_OF_A_STRANGER
            body = await _body_of(receive, most)
            if body is None:
                refusal = _refuse(413, f"more than {most:,} bytes", {"connection": "close"})
            else:
                receive = _again(body, receive)
        await (refusal or self._app)(scope, receive, sender)

    async def _stay(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a websocket for as long as whoever opened it is known.

        At the second look that does not find them: the first is left to the page, which leaves for
        the login by itself.
        """

        async def wait_until_unknown() -> None:
            missed = 0
            while missed < 2:
                await asyncio.sleep(LOOK_S)
                missed = 0 if await scope["state"]["is_known"]() else missed + 1

        unknown = asyncio.ensure_future(wait_until_unknown())

        async def hear() -> Message:
            heard = asyncio.ensure_future(receive())
            try:
                await asyncio.wait({heard, unknown}, return_when=asyncio.FIRST_COMPLETED)
                if heard.done():
                    return heard.result()
                return {"type": "websocket.disconnect", "code": 1008}
            finally:
                heard.cancel()

        try:
            await self._app(scope, hear, send)
            if unknown.done():
                with suppress(RuntimeError):  # the app has closed it itself
                    await send({"type": "websocket.close", "code": 1008, "reason": "logged out"})
        finally:
            await end(unknown)

    async def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        # 1. Host.
        if not is_allowed(headers.get("host", ""), self._hosts):
            return _refuse(421, "this host is not named in dashboard.hosts")
        # 2. Origin.
        if changes and not self._from_us(headers):
            return _refuse(403, "this comes from another site")
        # 3. Who it is.
        state = scope.setdefault("state", {})
        state.update(principal=None, session=None, cookie=None)
        path = scope["path"]
        try:
            await self._identify(state, headers)
        except StoreError:
            if not is_login(path):
                raise
            # A stranger: the form says what is away when it is sent.
        state["is_known"] = partial(self._is_known, state["cookie"])
        is_open = path in _OPEN_PATHS or path.startswith(_OPEN_PREFIXES)
        if state["principal"] is None and not is_open:
            if scope["type"] == "http" and _wants_page(headers, path):
                return RedirectResponse(login_address(wanted_of(scope)), 303)
            return _refuse(401, "log in first", {"www-authenticate": "Bearer"})
        # 4. CSRF; a form that was open when another tab logged in logs in anew.
        session = state["session"]
        by_browser = session is not None and scope["type"] == "http" and changes
        if by_browser and path != LOGIN and not session.allows(headers.get(CSRF_HEADER)):
            return _refuse(403, f"{CSRF_HEADER} is missing, or not this session's")
        return None

    def _from_us(self, headers: Headers) -> bool:
        """Whether a request is from a page of ours, or from no page at all."""
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
        except ValueError:
            return False

    async def _identify(self, state: dict[str, Any], headers: Headers) -> None:
        if not self._has_logins:
            state["principal"] = Principal(LOCAL, "analyst")
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            state["principal"] = self._users.by_token(token.strip())
            return
        cookie = cookie_of(headers)
        found = None if cookie is None else await self._sessions.find(cookie)
        if found is not None:
            state["principal"], state["session"] = found
            state["cookie"] = cookie

    async def _is_known(self, cookie: str | None) -> bool:
        """Whether a session goes on; without one nothing ends but with the process."""
        if cookie is None:
            return True
        try:
            return await self._sessions.find(cookie) is not None
        except StoreError:
            return True  # nobody can tell now: asked again


async def _body_of(receive: Receive, most: int) -> bytes | None:
    """Read a body; None for one that is too large, or did not come."""
    body, has_more = b"", True
    while has_more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > most:
            return None
        has_more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Receive a body that was read, then what else comes."""
    bodies = [body]

    async def received() -> Message:
        return {"type": "http.request", "body": bodies.pop()} if bodies else await receive()

    return received


class _Sender:
    """Puts the policy on an answer, and the nonce into a page."""

    def __init__(self, send: Send, nonce: str, *, https: bool) -> None:
        self._send, self._nonce, self._https = send, nonce, https
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in security_headers(self._nonce, https=self._https).items():
                headers[name] = value
            if not headers.get("cache-control"):
                headers["cache-control"] = "no-store"
            if headers.get("content-type", "").startswith("text/html"):
                self._start = message
                return
        elif self._start is not None and message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            body = with_nonce(self._body, self._nonce)
            MutableHeaders(scope=self._start)["content-length"] = str(len(body))
            await self._send(self._start)
            message = {"type": "http.response.body", "body": body}
        await self._send(message)


def cookie_of(headers: Mapping[str, str]) -> str | None:
    """Read the session's id."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _wants_page(headers: Headers, path: str) -> bool:
    return not path.startswith(("/api/", "/_")) and "text/html" in headers.get("accept", "")


_LATER = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Tocsin</title>
<meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/assets/tocsin.svg">
<link rel="stylesheet" href="/assets/dashboard.css"></head>
<body class="login"><main role="status">
<h1><img src="/assets/tocsin.svg" alt="" width="28" height="28">Not now</h1>
<p>Nobody can tell who you are: {why}.</p><p>This page tries again every five seconds.</p>
</main></body></html>
"""


def _unavailable(error: StoreError, *, for_page: bool) -> Response:
    again = {"retry-after": "2"}
    if for_page:
        return HTMLResponse(_LATER.format(why=escape(str(error))), 503, again)
    return _refuse(503, str(error), again)


def _refuse(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps({"detail": detail}), status, headers, media_type="application/json")

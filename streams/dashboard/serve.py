"""The composition root of the dashboard: services, API, pages, guard, and their server."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streams.dashboard.access.bind import check_bind
from streams.dashboard.access.guard import Guard
from streams.dashboard.api.app import new_app
from streams.dashboard.pages.register import add_pages
from streams.dashboard.services import Services
from streams.settings import Settings

log = logging.getLogger(__name__)

# A browser that holds a connection open does not hold the end up.
_GRACE_S = 3


def build_app(settings: Settings) -> ASGIApp:
    """Put the dashboard together as an ASGI app.

    Raises:
        SettingsError: it would be reached by others without knowing who they are, or a setting is
            malformed.
    """
    check_bind(settings.dashboard)
    services = Services.build(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        async with services.running():
            yield

    app = new_app(lifespan)
    app.state.services = services
    add_pages(app, services)
    guarded = Guard(
        app, settings=settings.dashboard, users=services.users, sessions=services.sessions
    )
    return AccessLog(GZipMiddleware(guarded))


class AccessLog:
    """Logs each request by its route: never by its URL, in which an id may stand."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def log_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("route")
                place = getattr(route, "path_format", None) or getattr(route, "path", "-")
                ms = 1000 * (time.perf_counter() - began)
                method, status = scope["method"], message["status"]
                level = logging.DEBUG if method == "GET" and status < 400 else logging.INFO
                log.log(level, "%s %s %d %.0f ms", method, place, status, ms)
            await send(message)

        await self._app(scope, receive, log_and_send)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        SettingsError: see `build_app`; or the port is taken.
    """
    dashboard = settings.dashboard
    config = uvicorn.Config(
        build_app(settings),
        # Not uvloop: a connection to Kafka over TLS that is closed while an answer is under way
        # hangs there for 30 s, the timeout of TLS's own end, and a list of dead letters with it.
        loop="asyncio",
        host=dashboard.host,
        port=dashboard.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        forwarded_allow_ips=",".join(dashboard.proxies),
        proxy_headers=dashboard.https,
    )
    # The server ends in good order, then raises the signal that it got once more.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    log.info("dashboard: http://%s:%d", dashboard.host, dashboard.port)
    uvicorn.Server(config).run()

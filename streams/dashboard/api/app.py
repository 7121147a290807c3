"""The API as one FastAPI app; our errors become answers in one place."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.types import Lifespan

from streams.dashboard.access.guard import COOKIE
from streams.dashboard.api import (
    alerts,
    cameras,
    dead_letters,
    events,
    health,
    rules,
    session,
    suppressions,
)
from streams.dashboard.api.bodies import Error
from streams.errors import BrokerError, NotFound, Outdated, SettingsError, StoreError, TocsinError

_STATUS: Final[tuple[tuple[type[TocsinError], int], ...]] = (
    (NotFound, 404),
    (Outdated, 412),
    (SettingsError, 400),
    (BrokerError, 503),
    (StoreError, 503),
    (TocsinError, 409),
)

_KNOWN: Final = [
    Security(HTTPBearer(auto_error=False, description="A program's token.")),
    Security(
        APIKeyCookie(
            name=COOKIE,
            auto_error=False,
            description="A session; what changes anything also sends its `x-csrf-token`.",
        )
    ),
]
"""How one says who one is, for the document: the guard in front of the app looks at it."""

_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": Error, "description": "log in first"},
    403: {"model": Error, "description": "not with this role, or from another site"},
    413: {"model": Error, "description": "a body that is too large"},
    421: {"model": Error, "description": "for a host that is not in `dashboard.hosts`"},
}
"""What the guard answers, whatever is asked."""


def new_app(lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Make the app with every endpoint under ``/api``; the services in its state answer them."""
    app = FastAPI(
        title="Tocsin",
        version="1",
        description="Alerts, and what to do about them.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its scripts come from somebody else's server
        redoc_url=None,
        lifespan=lifespan,
    )
    for module in (alerts, suppressions, dead_letters, cameras, rules, health, events):
        app.include_router(module.router, prefix="/api", dependencies=_KNOWN, responses=_REFUSED)
    app.include_router(session.router, prefix="/api", responses=_REFUSED)
    rules.describe(app)
    app.add_exception_handler(TocsinError, _answer)

    @app.get("/livez", include_in_schema=False)
    async def livez() -> dict[str, bool]:
        return {"live": True}

    @app.get("/readyz", include_in_schema=False)
    async def readyz(request: Request) -> JSONResponse:
        reasons = request.app.state.services.reasons
        said: dict[str, Any] = {"ready": not reasons}
        if request.state.principal is not None:  # they name servers
            said["reasons"] = reasons
        return JSONResponse(said, 503 if reasons else 200)

    return app


async def _answer(request: Request, error: Exception) -> JSONResponse:
    del request
    status = next(code for kind, code in _STATUS if isinstance(error, kind))
    headers = {"retry-after": "2"} if status == 503 else None
    return JSONResponse({"detail": str(error)}, status, headers)

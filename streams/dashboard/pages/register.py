"""The addresses of the pages, and how NiceGUI runs under our app."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from nicegui import Client, core, ui
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from streams.dashboard.pages import login, oidc
from streams.dashboard.pages.alert import AlertPage
from streams.dashboard.pages.cameras import Wall
from streams.dashboard.pages.choice import choice_of
from streams.dashboard.pages.frame import begin, empty
from streams.dashboard.pages.health import Health
from streams.dashboard.pages.live import LiveList
from streams.dashboard.pages.rules import RulesPage
from streams.dashboard.services import Services
from streams.dashboard.view.changes import Subscription

_ASSETS: Final = Path(__file__).with_name("assets")

_HEAD: Final = '<link rel="stylesheet" href="/assets/dashboard.css">'


def add_pages(app: FastAPI, services: Services) -> None:
    """Add every page. NiceGUI keeps one app a process, so there is one dashboard in a process."""
    app.include_router(login.router)
    app.include_router(oidc.router)
    app.mount("/assets", StaticFiles(directory=_ASSETS), name="assets")
    ui.add_head_html(_HEAD, shared=True)

    @ui.page("/", response_timeout=20)
    async def live(request: Request) -> None:
        visit = await begin(request, services, "Alerts")
        choice = choice_of(request.query_params, visit.fragment)
        found = LiveList(visit, _subscribed(services), choice)
        found.build()
        await found.load()

    @ui.page("/alerts/{alert_id:path}", response_timeout=20)
    async def alert(request: Request, alert_id: str) -> None:
        visit = await begin(request, services, "Alert")
        await AlertPage(visit, _subscribed(services), alert_id).build()

    @ui.page("/cameras", response_timeout=20)
    async def cameras(request: Request) -> None:
        wall = Wall(await begin(request, services, "Cameras"))
        wall.build()
        await wall.refresh()

    @ui.page("/cameras/{camera:path}/rules", response_timeout=20)
    async def rules(request: Request, camera: str) -> None:
        await RulesPage(await begin(request, services, "Cameras"), camera).build()

    @ui.page("/health", response_timeout=20)
    async def health(request: Request) -> None:
        await Health(await begin(request, services, "Health")).build()

    core.app.add_exception_handler(404, _unknown)  # NiceGUI's own logs the address, ids and all
    core.app.config.socket_io_js_transports = ["websocket"]
    ui.run_with(
        app,
        title="Tocsin",
        favicon=_ASSETS / "tocsin.svg",
        dark=None,
        tailwind=False,
        gzip_middleware_factory=None,  # the guard writes into pages: compressed afterwards
        reconnect_timeout=10.0,
        language="en-US",
        show_welcome_message=False,
    )


async def _unknown(request: Request, error: Exception) -> Response:
    """Answer where there is nothing: a program in JSON, a person with a page."""
    del error
    if not request.url.path.startswith(("/api/", "/_nicegui")):
        with Client(ui.page(""), request=request) as client:
            client.content.classes("page").props('role="main"')
            empty("explore_off", "There is no such page", "The address may be cut off.")
            with ui.column().classes("empty"):
                ui.link("To the alerts", "/")
        return client.build_response(request, 404)
    return JSONResponse({"detail": "there is nothing at this address"}, 404)


def _subscribed(services: Services) -> Subscription:
    """Be told of changes until the page is closed."""
    subscribing = services.changes.subscribe()
    subscription = subscribing.__enter__()
    ui.context.client.on_delete(lambda: subscribing.__exit__(None, None, None))
    return subscription

"""The login page: a plain form, so that nothing of ours runs before somebody is known."""

from __future__ import annotations

import re
from html import escape

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from streams.dashboard.access.target import HOME, LOGIN, login_address, target_of
from streams.dashboard.api.bodies import LoginIn
from streams.dashboard.api.session import log_in
from streams.dashboard.services import Services
from streams.errors import TocsinError

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in - Tocsin</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/assets/tocsin.svg">
<link rel="stylesheet" href="/assets/dashboard.css"></head>
<body class="login"><main>
<form method="post" action="/login">
<h1><img src="/assets/tocsin.svg" alt="" width="28" height="28">Tocsin</h1>
{message}
{provider}
{form}
{target}
</form></main></body></html>
"""

_FORM = """<label>Name<input name="user" autocomplete="username" autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"></label>
<details><summary>Use a token</summary>
<label>Token<input name="token" type="password" autocomplete="off"></label></details>
<button type="submit">Log in</button>"""

_PROVIDER = '<a class="button" href="/login/oidc{query}">Log in with your organisation</a>'

_PART = re.compile(r"\{(provider|form|target|message)\}")


@router.get("/login")
async def show(request: Request) -> Response:
    """Show the form; who is known goes on."""
    target = target_of(request.query_params.get("to", ""))
    if request.state.principal is not None:
        return RedirectResponse(target, 303)
    return HTMLResponse(page_of(request.app.state.services, target))


@router.post("/login")
async def submit(request: Request) -> Response:
    """Log in as the API does, and go to the page that was wanted."""
    form = await request.form()
    target = target_of(str(form.get("to") or ""))
    given = {name: str(form.get(name) or "")[:1024] for name in ("user", "password", "token")}
    login = LoginIn(**{**given, "user": given["user"][:128]})
    response, services = RedirectResponse(target, 303), request.app.state.services
    try:
        await log_in(login, request, response, services)
    except HTTPException as error:
        page = page_of(services, target, str(error.detail))
        return HTMLResponse(page, error.status_code, error.headers)
    except TocsinError as error:
        return unavailable(services, target, error)
    return response


def unavailable(services: Services, target: str, error: TocsinError) -> Response:
    """Show the form again, and why nobody can come in now."""
    said = f"nobody can log in now: {error}"
    return HTMLResponse(page_of(services, target, said), 503, {"retry-after": "2"})


def own_address(request: Request, has: Services) -> str:
    """Give the address by which the browser reaches us; the guard has looked at its host."""
    scheme = "https" if has.settings.dashboard.https else "http"
    return f"{scheme}://{request.headers['host']}"


def page_of(services: Services, target: str = HOME, message: str = "") -> str:
    """Write the login page: the ways in that there are, to `target`, and why it is shown again."""
    query = login_address(target).removeprefix(LOGIN)
    parts = {
        "provider": _PROVIDER.replace("{query}", query) if services.provider is not None else "",
        "form": _FORM if services.users else "",
        "target": f'<input type="hidden" name="to" value="{escape(target)}">',
        "message": f'<p role="alert">{escape(message)}</p>' if message else "",
    }
    return _PART.sub(lambda found: parts[found[1]], _PAGE)  # once: a part may name another

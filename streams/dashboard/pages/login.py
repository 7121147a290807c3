"""The login page: a plain form, so that nothing of ours runs before somebody is known."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from streams.dashboard.api.bodies import LoginIn
from streams.dashboard.api.session import log_in
from streams.dashboard.services import Services

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
</form></main></body></html>
"""

_FORM = """<label>Name<input name="user" autocomplete="username" autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"></label>
<details><summary>Use a token</summary>
<label>Token<input name="token" type="password" autocomplete="off"></label></details>
<button type="submit">Log in</button>"""

_PROVIDER = '<a class="button" href="/login/oidc">Log in with your organisation</a>'


@router.get("/login")
async def show(request: Request) -> Response:
    """Show the form; who is known goes on."""
    if request.state.principal is not None:
        return RedirectResponse("/", 303)
    return HTMLResponse(page_of(request.app.state.services))


@router.post("/login")
async def submit(request: Request) -> Response:
    """Log in as the API does, and go to the list."""
    form = await request.form()
    given = {name: str(form.get(name) or "")[:1024] for name in ("user", "password", "token")}
    login = LoginIn(**{**given, "user": given["user"][:128]})
    response, services = RedirectResponse("/", 303), request.app.state.services
    try:
        await log_in(login, request, response, services)
    except HTTPException as error:
        page = page_of(services, str(error.detail))
        return HTMLResponse(page, error.status_code, error.headers)
    return response


def own_address(request: Request, has: Services) -> str:
    """Give the address by which the browser reaches us; the guard has looked at its host."""
    scheme = "https" if has.settings.dashboard.https else "http"
    return f"{scheme}://{request.headers['host']}"


def page_of(services: Services, message: str = "") -> str:
    """Write the login page, with the ways in that there are, and why it is shown again."""
    parts = {
        "provider": _PROVIDER if services.provider is not None else "",
        "form": _FORM if services.users else "",
        "message": f'<p role="alert">{escape(message)}</p>' if message else "",  # may name a part
    }
    page = _PAGE
    for name, text in parts.items():
        page = page.replace(f"{{{name}}}", text, 1)
    return page

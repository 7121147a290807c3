"""The login page: a plain form, so that nothing of ours runs before somebody is known."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from streams.dashboard.api.bodies import LoginIn
from streams.dashboard.api.session import log_in

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
<label>Name<input name="user" autocomplete="username" autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"></label>
<details><summary>Use a token</summary>
<label>Token<input name="token" type="password" autocomplete="off"></label></details>
<button type="submit">Log in</button>
</form></main></body></html>
"""


@router.get("/login")
async def show(request: Request) -> Response:
    """Show the form; who is known goes on."""
    if request.state.principal is not None:
        return RedirectResponse("/", 303)
    return HTMLResponse(_page())


@router.post("/login")
async def submit(request: Request) -> Response:
    """Log in as the API does, and go to the list."""
    form = await request.form()
    given = {name: str(form.get(name) or "")[:1024] for name in ("user", "password", "token")}
    login = LoginIn(**{**given, "user": given["user"][:128]})
    response = RedirectResponse("/", 303)
    try:
        await log_in(login, request, response, request.app.state.services)
    except HTTPException as error:
        return HTMLResponse(_page(str(error.detail)), error.status_code, error.headers)
    return response


def _page(message: str = "") -> str:
    alert = f'<p role="alert">{escape(message)}</p>' if message else ""
    return _PAGE.replace("{message}", alert)

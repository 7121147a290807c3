"""What passes the guard, how much of it, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from streams.dashboard.access import guard
from streams.dashboard.access.guard import Guard
from streams.dashboard.access.sessions import Session
from streams.dashboard.access.users import Principal, Users, new_token
from streams.errors import StoreError
from streams.settings import DashboardSettings

TOKEN, KEPT = new_token()
SETTINGS = DashboardSettings.model_validate({"users": {"bot": {"role": "analyst", "token": KEPT}}})
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Sessions:
    """One that goes on until it is told to end."""

    def __init__(self) -> None:
        self.names = {"ann"}

    async def find(self, name: str) -> tuple[Principal, Session] | None:
        if name not in self.names:
            return None
        return Principal(name, "viewer"), Session(name, "csrf")


def guarded(app: Any, sessions: Any = None) -> Guard:
    return Guard(app, settings=SETTINGS, users=Users(SETTINGS.users), sessions=sessions)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def repeat(socket: WebSocket) -> None:
    while True:
        await socket.send_text(await socket.receive_text())


def post(body: Any, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(guarded(echo))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/login", content=body, headers=headers)

    return asyncio.run(ask())


def get(path: str, sessions: Any = None, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(guarded(echo, sessions))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 1024


def test_a_body_arrives_whole() -> None:
    assert post(b"").text == "0"
    assert post(chunks(3)).text == "3072"
    assert post(b"x" * 1024 * 1024, **BEARER).text == str(1024 * 1024)


def test_whoever_has_to_log_in_comes_back_to_the_page_that_was_wanted() -> None:
    def sent_to(path: str) -> str:
        answer = get(path, accept="text/html")
        assert answer.status_code == 303
        return answer.headers["location"]

    assert sent_to("/") == "/login"
    assert sent_to("/alerts/a%2Fb?x=1") == "/login?to=%2Falerts%2Fa%252Fb%3Fx%3D1"
    assert sent_to("//evil.example") == "/login"
    assert get("/api/alerts", accept="text/html").status_code == 401


@pytest.mark.parametrize(
    ("path", "accepted", "kind"),
    [
        ("/health", "text/html", "text/html; charset=utf-8"),
        ("/health", "*/*", "application/json"),
        ("/api/alerts", "text/html", "application/json"),
    ],
)
def test_while_nobody_can_tell_who_asks_a_page_says_so_and_tries_again(
    path: str, accepted: str, kind: str
) -> None:
    class Away:
        async def find(self, name: str) -> None:
            raise StoreError(f"Redis <b>{name}</b> does not answer")

    async def scenario() -> httpx.Response:
        transport = httpx.ASGITransport(guarded(echo, Away()))
        cookies = {"tocsin_session": "ann"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1", cookies=cookies
        ) as client:
            return await client.get(path, headers={"accept": accepted})

    answer = asyncio.run(scenario())
    assert (answer.status_code, answer.headers["content-type"]) == (503, kind)
    is_page = kind.startswith("text/html")
    assert ("Redis &lt;b&gt;ann" in answer.text) == is_page
    assert ("tries again" in answer.text) == is_page


@pytest.mark.parametrize(("kib", "headers"), [(17, {}), (1025, BEARER)])
def test_a_body_that_is_too_large_is_refused_before_it_is_read_whole(
    kib: int, headers: dict[str, str]
) -> None:
    taken = 0

    async def long() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(10 * kib):
            taken += 1
            yield b"x" * 1024

    answer = post(long(), **headers)
    assert (answer.status_code, answer.json()["detail"][:9]) == (413, "more than")
    assert taken <= kib


def test_a_websocket_ends_with_the_session_that_opened_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LOOK_S", 0.02)
    sessions, sent = Sessions(), list[Message]()
    heard: asyncio.Queue[Message] = asyncio.Queue()
    headers = [(b"host", b"127.0.0.1"), (b"cookie", b"tocsin_session=ann")]
    scope: Scope = {"type": "websocket", "path": "/_nicegui_ws", "headers": headers}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        with pytest.raises(WebSocketDisconnect) as gone:
            await repeat(socket)
        assert gone.value.code == 1008

    async def send(message: Message) -> None:
        sent.append(message)

    async def use() -> None:
        serving = asyncio.ensure_future(guarded(app, sessions)(scope, heard.get, send))
        await heard.put({"type": "websocket.connect"})
        await asyncio.sleep(0.1)  # several looks
        await heard.put({"type": "websocket.receive", "text": "hello"})
        await asyncio.sleep(0.02)
        sessions.names.clear()
        await asyncio.wait_for(serving, 5)

    asyncio.run(use())
    assert [message["type"].removeprefix("websocket.") for message in sent] == [
        "accept",
        "send",
        "close",
    ]
    assert sent[1]["text"] == "hello"

"""Live alerts as server-sent events, with a way to go on after a break.

Each event's id is its place in the stream of changes. A client that comes back with the last one,
as browsers do by themselves, gets what it missed, of each alert the last state. One that was away
for too long, or is too slow, gets the event `reload`: load the list, then go on.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from streams.dashboard.api.bodies import alert_out
from streams.dashboard.api.requests import Has
from streams.dashboard.services import Services
from streams.dashboard.view.changes import Change

router = APIRouter(tags=["events"])

BEAT_S: Final = 10.0
"""Without news, a comment this often: a connection that is gone is noticed, or a session."""

_RELOAD: Final = "event: reload\ndata: {}\n\n"


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def live(
    request: Request,
    has: Has,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:
    """Stream alerts as they come and change, until whoever asked is logged out."""
    events = _stream(has, last_event_id, request.state.is_known)
    return StreamingResponse(events, media_type="text/event-stream")


async def _stream(
    has: Services, last: str | None, is_known: Callable[[], Awaitable[bool]]
) -> AsyncIterator[str]:
    with has.changes.subscribe() as subscription:
        place = await has.changes.last()
        if last is None:
            yield f"id: {place}\nevent: hello\ndata: {{}}\n\n"
        elif await has.changes.reaches(last):
            async for changes in has.changes.since(last):
                yield "".join(map(_event, changes))
        else:
            yield f"id: {place}\n{_RELOAD}"
        looked_at = time.monotonic()
        while True:
            has_news = await subscription.wait(BEAT_S)
            if time.monotonic() - looked_at >= BEAT_S:
                looked_at = time.monotonic()
                if not await is_known():
                    return
            if not has_news:
                yield ": still here\n\n"
                continue
            changes = subscription.take()
            if subscription.lost:
                subscription.lost = False
                yield _RELOAD
            if changes:
                yield "".join(map(_event, changes))


def _event(change: Change) -> str:
    data = alert_out(change.viewed).model_dump_json()
    return f"id: {change.place}\nevent: alert\ndata: {data}\n\n"

"""Alerts: a page of them, one, its picture; and what is said about them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from streams.dashboard.api.bodies import (
    ActionOut,
    AlertOut,
    AlertPage,
    Decided,
    Error,
    Kind,
    Moment,
    NoteIn,
    Search,
    Severity,
    VerdictIn,
    alert_out,
)
from streams.dashboard.api.requests import Analyst, Has
from streams.dashboard.desk import DECISIONS
from streams.dashboard.view.query import Filters, page_of
from streams.dashboard.view.records import OUTCOMES, Decision, ViewedAlert
from streams.errors import NotFound
from streams.state.pictures import CROP

router = APIRouter(
    tags=["alerts"], responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}}
)


_FILTERS: Final = Search.model_fields.keys() - {"entity"} | {"camera"}


def _only_filters(request: Request) -> None:
    """Refuse what is no filter: it would be left out, and everybody's alerts be the answer."""
    unknown = sorted(request.query_params.keys() - _FILTERS)
    if unknown:
        why = "no filter of this list; to search by card, POST /api/alerts/search"
        raise RequestValidationError(
            [{"type": "extra_forbidden", "loc": ("query", name), "msg": why} for name in unknown]
        )


@router.get("/alerts", dependencies=[Depends(_only_filters)])
async def list_alerts(
    has: Has,
    *,
    kind: Kind | None = None,
    severity: Severity | None = None,
    camera: Annotated[str | None, Query(max_length=128)] = None,
    open: bool | None = None,  # noqa: A002 - its name in the URL
    decision: Decision | None = None,
    suppressed: bool = False,
    since: Moment | None = None,
    until: Moment | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=2048)] = None,
) -> AlertPage:
    """List alerts, the newest first. To find a card's, use the search: its id is for no URL.

    Other parameters are refused.
    """
    wanted = Search(
        kind="object" if camera is not None else kind,
        severity=severity,
        entity=camera or None,
        open=open,
        decision=decision,
        suppressed=suppressed,
        since=since,
        until=until,
        limit=limit,
        cursor=cursor,
    )
    return await search_alerts(wanted, has)


@router.post("/alerts/search")
async def search_alerts(wanted: Search, has: Has) -> AlertPage:
    """Search alerts, also by card, the newest first."""
    filters = Filters(**wanted.model_dump(exclude={"limit", "cursor"}))
    page = await page_of(has.store, filters, limit=wanted.limit, cursor=wanted.cursor)
    return AlertPage(alerts=[alert_out(one) for one in page.alerts], cursor=page.cursor)


@router.get(
    "/alerts/{alert_id:path}/picture",
    responses={200: {"content": {"image/jpeg": {}}}, 404: {"model": Error}},
    response_class=Response,
)
async def get_picture(alert_id: str, has: Has, *, crop: bool = False) -> Response:
    """Give the best picture so far of an alert on an object; `crop` shows the object alone."""
    viewed = await _find(has, alert_id)
    reference = viewed.alert.snapshot
    data = None
    if reference is not None and has.pictures is not None:
        name = reference + CROP if crop else reference
        data = await asyncio.to_thread(has.pictures.get, name)
    if data is None:
        raise NotFound(f"alert {alert_id!r} has no picture, or not any more")
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, no-cache"})


@router.post("/alerts/{alert_id:path}/notes", status_code=201, responses={404: {"model": Error}})
async def add_note(alert_id: str, note: NoteIn, has: Has, who: Analyst) -> ActionOut:
    """Write something down about an alert."""
    made = await has.desk.note(alert_id, who, note.text)
    return ActionOut(id=made.id, at=made.at, by=made.by, action=made.action, text=made.text)


@router.post("/verdicts", responses={404: {"model": Error}, 409: {"model": Error}})
async def decide(verdict: VerdictIn, has: Has, who: Analyst) -> Decided:
    """Decide alerts: all of them, or none."""
    said = await has.desk.judge(verdict.alerts, DECISIONS[verdict.decision], who, verdict.text)
    return Decided(before={name: OUTCOMES[outcome] for name, outcome in said.before.items()})


@router.get("/alerts/{alert_id:path}", responses={404: {"model": Error}})
async def get_alert(alert_id: str, has: Has) -> AlertOut:
    """Give one alert."""
    return alert_out(await _find(has, alert_id))


async def _find(has: Has, alert_id: str) -> ViewedAlert:
    (viewed,) = await has.store.get([alert_id])
    if viewed is None:
        raise NotFound(f"no alert {alert_id!r} in the view")
    return viewed

"""Entities whose alerts are hidden for a time."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response

from streams.dashboard.api.bodies import Error, SuppressionIn, SuppressionOut, suppression_out
from streams.dashboard.api.requests import Analyst, Has

router = APIRouter(
    tags=["suppressions"],
    responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}},
)


@router.get("/suppressions")
async def list_suppressions(has: Has) -> list[SuppressionOut]:
    """List suppressions, those that end last first."""
    now = round(time.time() * 1000)
    return [suppression_out(one, now) for one in await has.store.suppressions()]


@router.post("/suppressions", status_code=201)
async def suppress(wanted: SuppressionIn, has: Has, who: Analyst) -> SuppressionOut:
    """Hide what opens from now on."""
    made = await has.desk.suppress(
        wanted.kind, wanted.entity, wanted.minutes, who, reason=wanted.reason
    )
    return suppression_out(made, made.since)


@router.delete(
    "/suppressions/{suppression_id}",
    status_code=204,
    responses={404: {"model": Error}},
    response_class=Response,
)
async def lift(suppression_id: str, has: Has, who: Analyst) -> Response:
    """End a suppression now."""
    await has.desk.lift(suppression_id, who)
    return Response(status_code=204)

"""How the dashboard and the workers are."""

from __future__ import annotations

from fastapi import APIRouter

from streams.dashboard.api.bodies import Error, HealthOut, WorkerOut
from streams.dashboard.api.requests import Has

router = APIRouter(
    tags=["health"], responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}}
)


@router.get("/health")
async def health(has: Has) -> HealthOut:
    """Say how far the view is, how much is in it, and whether the workers are ready."""
    return HealthOut(
        view=has.consumer.waiting_for,
        alerts=await has.store.count(),
        undecided=await has.store.count("decision:undecided"),
        open=await has.store.count("open"),
        watching=has.changes.watching,
        workers=[WorkerOut(address=one.address, reasons=one.reasons) for one in has.workers.all],
    )

"""What could not be processed: looked into, and sent back after a fix."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from streams.dashboard.api.bodies import Error, LetterOut, Letters, Replayed, ReplayIn, letter_out
from streams.dashboard.api.requests import Analyst, Has
from streams.dashboard.letters import MOST, Shown, send_back, send_back_on_record
from streams.dead_letters.index import Wanted, find_letter

router = APIRouter(
    tags=["dead letters"],
    responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}},
)

Name = Annotated[str, Query(max_length=249)]


@router.get("/dead-letters")
async def list_letters(
    has: Has,
    *,
    topic: Name | None = None,
    reason: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> Letters:
    """List the newest dead letters, of the newest thousands on each partition."""
    wanted = Wanted(topics=() if topic is None else (topic,), reason=reason)
    found = await has.letters.find(wanted, limit)
    letters = [letter_out(one) for one in found.newest]
    return Letters(letters=letters, total=found.total, are_all=found.are_all)


@router.get("/dead-letters/{name}", responses={404: {"model": Error}, 409: {"model": Error}})
async def get_letter(name: str, has: Has) -> LetterOut:
    """Give one dead letter by its name, ``topic:partition:offset``."""
    return letter_out(Shown.of(await find_letter(has.settings, name)))


@router.post("/dead-letters/replay", responses={404: {"model": Error}, 409: {"model": Error}})
async def replay_letters(wanted: ReplayIn, has: Has, who: Analyst) -> Replayed:
    """Send letters back to where they came from; what was sent before is not sent again."""
    if wanted.dry_run:
        fates = await send_back(has.settings, wanted.letters, dry_run=True)
    else:
        fates = await send_back_on_record(has.settings, has.desk, wanted.letters, who)
    return Replayed(fates=dict(fates))

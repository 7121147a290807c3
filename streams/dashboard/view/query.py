"""Pages of the list: filters, a cursor, and no more work than a request may cost."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import merge
from typing import Any, Final, Literal

from streams.dashboard.view.records import Decision, ViewedAlert, entity_facet
from streams.dashboard.view.store import ViewStore
from streams.errors import SettingsError
from streams.state.redis_client import translated

MAX_PAGE: Final = 1_000
_CHUNK: Final = 500
_MAX_CHUNKS: Final = 20
"""A page ends, with a cursor to go on from, after so many ids were looked at for it."""

Place = tuple[int, str]
"""When an alert opened (ms), and its id: the list goes from the newest to the oldest of these."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which alerts: all unless told otherwise; suppressed ones only where asked for."""

    kind: Literal["fraud", "object"] | None = None
    severity: Literal["low", "medium", "high", "critical"] | None = None
    entity: str | None = None
    """A card or a camera; of both kinds unless `kind` says which."""

    open: bool | None = None
    decision: Decision | None = None
    suppressed: bool = False
    """Show those too."""

    since: int | None = None
    until: int | None = None
    """Opened from and before (ms)."""

    def facets(self) -> list[str]:
        """Name the indexes in which all of them stand; an entity's is of one kind."""
        found = []
        if self.kind is not None:
            found.append(f"kind:{self.kind}")
        if self.severity is not None:
            found.append(f"severity:{self.severity}")
        if self.entity is not None and self.kind is not None:
            found.append(entity_facet(self.kind, self.entity))
        if self.open:
            found.append("open")
        if self.decision is not None:
            found.append(f"decision:{self.decision}")
        return found

    def includes(self, viewed: ViewedAlert) -> bool:
        """Whether an alert is one of them."""
        alert = viewed.alert
        return (
            self.kind in {None, alert.kind}
            and self.severity in {None, alert.severity}
            and self.entity in {None, alert.entity}
            and self.open in {None, viewed.is_open}
            and self.decision in {None, viewed.decision}
            and (self.suppressed or not viewed.suppressed)
            and (self.since is None or viewed.opened >= self.since)
            and (self.until is None or viewed.opened < self.until)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Alerts, the newest first, and where the next page begins; None at the end."""

    alerts: list[ViewedAlert]
    cursor: str | None


async def page_of(
    store: ViewStore, filters: Filters, *, limit: int = 100, cursor: str | None = None
) -> Page:
    """Read one page.

    1. Take the smallest index that holds all that is wanted; an entity has one for each kind. 2. Go
    through it from the cursor on, a chunk at a time, and leave out what the other indexes do not
    have. 3. Read what is left.

    A page may hold fewer than `limit` and still have a cursor. What opens meanwhile stands before
    the cursor, so no alert comes twice or is passed over.

    Raises:
        SettingsError: `cursor` is none of ours.
        StoreError: Redis does not serve.
    """
    if filters.entity is not None and filters.kind is None:
        kinds: tuple[Literal["fraud", "object"], ...] = ("fraud", "object")
        pages = [
            await page_of(store, replace(filters, kind=kind), limit=limit, cursor=cursor)
            for kind in kinds
        ]
        return _joined(pages, limit)
    after = None if cursor is None else place_of(cursor)
    # 1. The smallest index.
    facets = filters.facets()
    sizes = [await store.count(facet) for facet in facets]
    first = facets[sizes.index(min(sizes))] if facets else "time"
    others = [facet for facet in facets if facet != first]
    found: list[ViewedAlert] = []
    for _ in range(_MAX_CHUNKS):
        # 2. A chunk of places.
        places = await _chunk(store, first, filters, after)
        ids = await _in_all(store, others, [name for _, name in places])
        # 3. The alerts.
        for viewed in await store.get(ids):
            if viewed is not None and filters.includes(viewed):
                found.append(viewed)
                if len(found) == limit:
                    return Page(found, cursor_of(_place(viewed)))
        if len(places) < _CHUNK:
            return Page(found, None)
        after = places[-1]
    return Page(found, cursor_of(after) if after else None)


def _joined(pages: Sequence[Page], limit: int) -> Page:
    """Make one page of several that began at one cursor: no further than the shortest reaches."""
    far = max((place_of(page.cursor) for page in pages if page.cursor is not None), default=None)
    merged = merge(*(page.alerts for page in pages), key=_place, reverse=True)
    found = [viewed for viewed in merged if far is None or _place(viewed) >= far]
    if len(found) > limit:
        found, far = found[:limit], _place(found[limit - 1])
    return Page(found, None if far is None else cursor_of(far))


def _place(viewed: ViewedAlert) -> Place:
    return viewed.opened, viewed.alert.id


async def _chunk(
    store: ViewStore, facet: str, filters: Filters, after: Place | None
) -> list[Place]:
    """Give up to `_CHUNK` places after `after`; of one time in falling order of ids, as Redis."""
    key = store.index(facet)
    top: Any = "+inf" if filters.until is None else f"({filters.until}"
    if after is not None and (filters.until is None or after[0] < filters.until):
        top = after[0]
    low: Any = "-inf" if filters.since is None else filters.since
    skip, found = 0, list[Place]()
    while len(found) < _CHUNK:
        with translated():
            answer = await store.client.zrevrangebyscore(
                key, top, low, start=skip, num=_CHUNK, withscores=True
            )
        skip += len(answer)
        places = [(int(opened), name.decode()) for name, opened in answer]
        found += [place for place in places if after is None or place < after]
        if len(answer) < _CHUNK:
            break
    return found[:_CHUNK]


async def _in_all(store: ViewStore, facets: Sequence[str], ids: list[str]) -> list[str]:
    for facet in facets:
        if not ids:
            break
        with translated():
            scores = await store.client.zmscore(store.index(facet), ids)
        ids = [name for name, score in zip(ids, scores, strict=True) if score is not None]
    return ids


def cursor_of(place: Place) -> str:
    """Write a place as text that goes into a URL and gives nothing away at a glance."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place_of(cursor: str) -> Place:
    """Read `cursor_of` back.

    Raises:
        SettingsError: it is something else.
    """
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        opened, name = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        opened, name = None, None
    if type(opened) is not int or not isinstance(name, str) or abs(opened) >= 2**53:
        raise SettingsError("this is no cursor: give the one that the page before came with")
    return opened, name

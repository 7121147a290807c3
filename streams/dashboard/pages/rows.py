"""Which alerts one list holds: the newest that its filters take, and no more than it may."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any, Final

from streams.dashboard.pages.words import row_of
from streams.dashboard.view.query import Filters, Page, cursor_of
from streams.dashboard.view.records import ViewedAlert

MOST: Final = 10_000
"""Rows of one list: older alerts are found by the filters."""

Steps = dict[str, list[dict[str, Any]]]
"""Rows to `add`, to `update` and to `remove`: one transaction of the grid."""


class Rows:
    """The ids in a list, and what changes in it.

    Attributes:
        cursor: where the next older page begins; None where no older alert is left.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._opened: dict[str, int] = {}  # id: when (ms)
        self.cursor: str | None = None

    def __len__(self) -> int:
        return len(self._opened)

    def __contains__(self, name: str) -> bool:
        return name in self._opened

    @property
    def is_full(self) -> bool:
        """Whether older ones have no room any more."""
        return len(self) >= self._most

    def clear(self) -> None:
        """Begin anew."""
        self._opened.clear()
        self.cursor = None

    def older(self, page: Page) -> Steps:
        """Take the page at the cursor in; what came as news meanwhile is there already."""
        self.cursor = page.cursor
        new = [viewed for viewed in page.alerts if viewed.alert.id not in self._opened]
        self._opened |= {viewed.alert.id: viewed.opened for viewed in new}
        return {"add": [row_of(viewed) for viewed in new]}

    def news(self, changed: Iterable[ViewedAlert], filters: Filters) -> Steps:
        """Take alerts in as they are now; the oldest go where there are too many."""
        add: dict[str, dict[str, Any]] = {}
        update: dict[str, dict[str, Any]] = {}
        remove: list[str] = []
        for viewed in changed:
            name = viewed.alert.id
            if filters.includes(viewed):
                (update if name in self._opened else add)[name] = row_of(viewed)
                self._opened[name] = viewed.opened
            elif self._opened.pop(name, None) is not None:
                remove.append(name)
        for name in self._make_room():
            if add.pop(name, None) is None:
                update.pop(name, None)
                remove.append(name)
        rows = [{"id": name} for name in remove]
        return {"add": list(add.values()), "update": list(update.values()), "remove": rows}

    def past(self, since: int) -> Steps:
        """Let those go that opened before `since` (ms)."""
        gone = [name for name, opened in self._opened.items() if opened < since]
        for name in gone:
            del self._opened[name]
        return {"remove": [{"id": name} for name in gone]}

    def _make_room(self) -> list[str]:
        """Let the oldest go where there are too many: they are on the next page from now on."""
        surplus = len(self) - self._most
        if surplus <= 0:
            return []
        *gone, (opened, oldest) = heapq.nsmallest(
            surplus + 1, ((opened, name) for name, opened in self._opened.items())
        )
        self.cursor = cursor_of((opened, oldest))
        for _, name in gone:
            del self._opened[name]
        return [name for _, name in gone]

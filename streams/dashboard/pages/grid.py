"""How the list is drawn: rows outside the screen are not, and news come in one transaction."""

from __future__ import annotations

from typing import Any, Final

_PILL = (
    "p => { const e = document.createElement('span'); e.className = 'pill ' + p.value;"
    " e.textContent = %s; return e }"
)
_WORDS = "({undecided: 'to decide'})[p.value] || p.value"

GRID: Final[dict[str, Any]] = {
    ":getRowId": "p => p.data.id",
    "rowData": [],
    "rowHeight": 40,
    "headerHeight": 34,
    "asyncTransactionWaitMillis": 100,
    "animateRows": False,
    "enableBrowserTooltips": True,
    "context": {},
    ":onCellFocused": (
        "p => { p.context.focused = p.api.getDisplayedRowAtIndex(p.rowIndex ?? -1)?.id }"
    ),
    ":onModelUpdated": (
        "p => { const cell = p.api.getFocusedCell(), node = p.api.getRowNode(p.context.focused);"
        " if (cell && node && node.rowIndex !== cell.rowIndex"
        " && document.activeElement?.closest('.grid'))"
        " p.api.setFocusedCell(node.rowIndex, cell.column) }"
    ),  # a row keeps the focus where others come above it: Space is about the row that one sees
    "rowSelection": {"mode": "multiRow", "checkboxes": True, "headerCheckbox": False},
    "selectionColumnDef": {"width": 42, "maxWidth": 42, "pinned": "left"},
    "defaultColDef": {"sortable": False, "resizable": True, "suppressMovable": True},
    "rowClassRules": {"hidden-one": "data.suppressed", "going-on": "data.open"},
    "overlayNoRowsTemplate": "<span></span>",
    "overlayLoadingTemplate": "<span></span>",
}

STEP: Final = """
const api = getElement(%(grid)d).api;
api.flushAsyncTransactions();
const chosen = api.getSelectedNodes();
const places = chosen.map(node => node.rowIndex).filter(place => place !== null);
const from = %(step)d > 0 ? Math.max(...places) : Math.min(...places);
const last = api.getDisplayedRowCount() - 1;
const place = places.length ? Math.max(0, Math.min(from + %(step)d, last)) : 0;
const node = api.getDisplayedRowAtIndex(place);
if (!node) return null;
api.deselectAll();
node.setSelected(true);
api.ensureIndexVisible(place);
api.setFocusedCell(place, "opened");
return node.id;
"""
"""Choose the row after, or before, those that are chosen; returns its id. It has the focus too."""

AGAIN: Final = """
const api = getElement(%(grid)d).api;
api.flushAsyncTransactions();
api.getRowNode(%(name)s)?.setSelected(true);
"""
"""Choose a row that was chosen before its list was loaded anew."""

AFTER: Final = """
const api = getElement(%(grid)d).api, decided = new Set(%(ids)s);
api.flushAsyncTransactions();
const places = [...decided].map(id => api.getRowNode(id)?.rowIndex).filter(place => place != null);
if (!places.length) return null;
api.deselectAll();
for (const [from, step] of [[Math.max(...places), 1], [Math.min(...places), -1]]) {
  let place = from + step, node;
  while ((node = api.getDisplayedRowAtIndex(place)) && decided.has(node.id)) place += step;
  if (node) {
    node.setSelected(true);
    api.ensureIndexVisible(place);
    api.setFocusedCell(place, "opened");
    return node.id;
  }
}
return null;
"""
"""Choose the row after those with some ids, while they are there, else the one before them."""

SELECTED: Final = "() => emit(getElement(%(grid)d).api.getSelectedNodes().length)"
"""Tell how many rows are chosen, whenever that changes."""

_TIME: Final[dict[str, Any]] = {
    "headerName": "Time",
    "field": "opened",
    "sort": "desc",
    "sortable": True,
    "width": 118,
    ":valueFormatter": (
        "p => { const d = new Date(p.value), now = new Date();"
        " const t = d.toLocaleTimeString([], {hour12: false});"
        " return d.toDateString() === now.toDateString() ? t :"
        " d.toLocaleDateString([], {day: '2-digit', month: 'short'}) + ' ' + t.slice(0, 5) }"
    ),
}
_SEVERITY: Final[dict[str, Any]] = {
    "headerName": "Severity",
    "field": "severity",
    "width": 104,
    ":cellRenderer": _PILL % "p.value",
}
_WHAT: Final[dict[str, Any]] = {
    "headerName": "Why",
    "field": "what",
    "tooltipField": "what",  # it may be cut
    "flex": 1,
    "minWidth": 160,
}
_WHY: Final[dict[str, Any]] = {
    **_WHAT,
    "minWidth": 120,
    ":cellRenderer": (
        "p => { const e = document.createElement('div'), d = p.data; e.className = 'why';"
        " for (const text of [p.value, [d.entity, d.value].filter(Boolean).join(' · ')])"
        " e.appendChild(document.createElement('div')).textContent = text;"
        " return e }"
    ),
}
"""For a phone, on which the card and the amount have no columns."""

_ENTITY: Final[dict[str, Any]] = {"headerName": "Card or camera", "field": "entity", "width": 140}
_VALUE: Final[dict[str, Any]] = {
    "headerName": "Amount or class",
    "field": "value",
    "width": 130,
    "cellClass": "number",
}
_SCORE: Final[dict[str, Any]] = {
    "headerName": "Score",
    "field": "score",
    "width": 76,
    "cellClass": "number",
    ":valueFormatter": "p => p.value.toFixed(3)",
}
_DECISION: Final[dict[str, Any]] = {
    "headerName": "Decision",
    "field": "decision",
    "width": 112,
    ":cellRenderer": _PILL % _WORDS,
}


def grid_for(*, is_narrow: bool) -> dict[str, Any]:
    """Choose rows and columns: on a phone when, how bad, and why, with of whom below."""
    if not is_narrow:
        columns = [_TIME, _SEVERITY, _ENTITY, _WHAT, _VALUE, _SCORE, _DECISION]
        return {**GRID, "columnDefs": columns}
    columns = [{**_TIME, "width": 100}, {**_SEVERITY, "width": 92}, _WHY]
    return {**GRID, "rowHeight": 70, "columnDefs": columns}

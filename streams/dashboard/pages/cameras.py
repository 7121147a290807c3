"""The wall: the last picture of each camera, what goes on before it, and how it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from nicegui import ui

from streams.dashboard.api.bodies import CameraOut
from streams.dashboard.api.cameras import cameras_of
from streams.dashboard.frames import Frame
from streams.dashboard.pages.detail import box_of
from streams.dashboard.pages.frame import Visit, empty
from streams.dashboard.pages.hidden import active_of, cameras_hidden
from streams.dashboard.pages.words import ago, headline
from streams.dashboard.view.query import Filters, page_of
from streams.schemas import Alert

EVERY_S: Final = 2.0
NEAR_MS: Final = 2_000
"""From an alert's last message to the picture: with more between them its box frames nothing."""

EXACT_MS: Final = 300
"""With more between them whoever walks is beside the box, which is drawn dashed."""

_NAMED: Final = 3
_DROPPED: Final = ("late", "stale", "too often", "rejected")


class Wall:
    """All cameras on one open page."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._tiles: dict[str, _Tile] = {}

    def build(self) -> None:
        """Make the place for the tiles."""
        ui.label("Cameras").classes("visually-hidden").props('role="heading" aria-level="1"')
        self._place = ui.element("div").classes("wall")
        self._none = ui.column()
        with self._none:
            empty(
                "videocam_off",
                "No camera yet",
                "Cameras appear when a vision worker that dashboard.workers names has seen one.",
            )
        self._none.set_visibility(False)
        ui.timer(EVERY_S, self.refresh)

    async def refresh(self) -> None:
        """Ask again and draw what is new."""
        cameras = await self._visit.trying(cameras_of(self._visit.services))
        wanted = Filters(kind="object", open=True, suppressed=True)
        page = await self._visit.trying(page_of(self._visit.services.store, wanted, limit=500))
        suppressions = await self._visit.trying(self._visit.services.store.suppressions())
        if cameras is None or page is None or suppressions is None:
            return
        hidden = cameras_hidden(active_of(suppressions, round(time.time() * 1000)))
        going_on: dict[str, list[Alert]] = {}
        for viewed in page.alerts:
            going_on.setdefault(viewed.alert.entity, []).append(viewed.alert)
        for camera in cameras:
            if camera.id not in self._tiles:
                with self._place:
                    self._tiles[camera.id] = _Tile(camera.id)
            frame, trouble = await self._visit.services.frames.look(camera.id)
            tile = self._tiles[camera.id]
            tile.show(camera, frame, trouble, going_on.get(camera.id, []))
            tile.show_hidden(is_hidden=camera.id in hidden)
        for name in self._tiles.keys() - {camera.id for camera in cameras}:
            self._tiles[name].say_gone()
        self._none.set_visibility(not self._tiles)


def on_picture(alerts: Sequence[Alert], taken_at: int) -> tuple[list[Alert], list[Alert]]:
    """Part alerts into those whose box belongs to a picture taken at `taken_at` (ms), and others.

    An alert's box is where its object was at its last message, which may be long ago.
    """
    here = [alert for alert in alerts if abs(alert.event_time - taken_at) <= NEAR_MS]
    return here, [alert for alert in alerts if alert not in here]


def _is_late(alert: Alert, taken_at: int) -> bool:
    return abs(alert.event_time - taken_at) > EXACT_MS


def rates_told(rates: Mapping[str, float]) -> str:
    """Put frames a second by fate into words: all that came, and those that were dropped."""
    dropped = sum(rates.get(fate, 0.0) for fate in _DROPPED)
    return f"{sum(rates.values()):.1f} fps · {dropped:.1f} dropped/s"


class _Tile:
    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._source = ""
        with ui.element("article").classes("tile") as tile:
            tile.props["aria-label"] = f"Camera {camera}"  # as it is: a camera's name is hostile
            with ui.element("div").classes("frame"):
                self._image = ui.element("img")
                self._image.props["alt"] = f"Last picture of camera {camera}"
                self._image.on("error", lambda: self._say_nothing("It could not be loaded."))
                self._image.set_visibility(False)
                self._boxes = ui.html("", sanitize=False).classes("boxes")  # numbers alone
                self._nothing = ui.column().classes("nothing")
                with self._nothing:
                    empty("image_not_supported", "No picture", "")
                    self._why = ui.label("").classes("hint")
            with ui.row().classes("caption"):
                ui.label(camera).classes("name")
                self._state = ui.label("").classes("pill")
                self._hidden = ui.label("suppressed").classes("pill")
                self._hidden.set_visibility(False)
                ui.space()
                self._figures = ui.label("").classes("hint")
            with ui.row().classes("caption"):
                self._seen = ui.label("").classes("hint")
                ui.space()
                ui.link("Zones and rules", f"/cameras/{quote(camera, safe='')}/rules")
            self._elsewhere = ui.label("").classes("hint elsewhere")
            self._elsewhere.set_visibility(False)

    def show(
        self, camera: CameraOut, frame: Frame | None, trouble: str, alerts: Sequence[Alert]
    ) -> None:
        if frame is None:
            self._source = ""
            self._say_nothing(trouble or "The end of the frames topic has none of this camera.")
        else:
            self._with_picture(frame)
        here, others = ([], list(alerts)) if frame is None else on_picture(alerts, frame.taken_at)
        taken_at = 0 if frame is None else frame.taken_at
        boxes = [box_of(alert, is_late=_is_late(alert, taken_at)) for alert in here]
        self._boxes.set_content("".join(boxes))
        self._name(others, has_late=any(_is_late(alert, taken_at) for alert in here))
        self._state.set_text("up" if camera.up else "down")
        self._state.classes(replace=f"pill {'up' if camera.up else 'down'}")
        seen = (
            "no frame yet"
            if camera.last_frame is None
            else f"last frame {ago(camera.last_frame, round(time.time() * 1000))}"
        )
        going_on = f" · {camera.open_alerts} going on" if camera.open_alerts else ""
        self._seen.set_text(f"{seen}{going_on}")
        self._figures.set_text("" if camera.rates is None else rates_told(camera.rates))

    def show_hidden(self, *, is_hidden: bool) -> None:
        """Tell whether alerts of the camera are hidden."""
        self._hidden.set_visibility(is_hidden)

    def say_gone(self) -> None:
        """Say that no worker names the camera any more; what was seen last stays."""
        self._boxes.set_content("")
        self._name([])
        self._figures.set_text("")
        self._state.set_text("gone")
        self._state.classes(replace="pill down")
        self._seen.set_text("no worker reports this camera any more")

    def _with_picture(self, frame: Frame) -> None:
        source = f"/api/cameras/{quote(self._camera, safe='')}/picture?at={frame.sent_at}"
        if source == self._source:
            return
        self._source = source
        self._image.props["src"] = source
        self._image.update()
        self._image.set_visibility(True)
        self._nothing.set_visibility(False)

    def _say_nothing(self, why: str) -> None:
        self._image.set_visibility(False)
        self._boxes.set_content("")
        self._why.set_text(why)
        self._nothing.set_visibility(True)

    def _name(self, alerts: Sequence[Alert], *, has_late: bool = False) -> None:
        """Name what goes on though its place on this picture is not known."""
        named = [headline(alert) for alert in alerts[:_NAMED]]
        more = f" and {len(alerts) - _NAMED} more" if len(alerts) > _NAMED else ""
        told = [
            "Dashed: where it was a moment before or after this picture" if has_late else "",
            f"Going on, place not known: {'; '.join(named)}{more}" if alerts else "",
        ]
        self._elsewhere.set_text(". ".join(filter(None, told)))
        self._elsewhere.set_visibility(any(told))

"""The wall: the last picture of each camera, what goes on before it, and how it is."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import quote

from nicegui import ui

from streams.dashboard.api.bodies import CameraOut
from streams.dashboard.api.cameras import cameras_of
from streams.dashboard.pages.detail import box_of
from streams.dashboard.pages.frame import Visit, empty
from streams.dashboard.pages.words import ago
from streams.dashboard.view.query import Filters, page_of

EVERY_S: Final = 2.0
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
        if cameras is None or page is None:
            return
        boxes: dict[str, str] = {}
        for viewed in page.alerts:
            name = viewed.alert.entity
            boxes[name] = boxes.get(name, "") + box_of(viewed.alert)
        self._none.set_visibility(not cameras)
        for camera in cameras:
            if camera.id not in self._tiles:
                with self._place:
                    self._tiles[camera.id] = _Tile(camera.id)
            self._tiles[camera.id].show(camera, boxes.get(camera.id, ""))


class _Tile:
    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._before: tuple[float, dict[str, float]] | None = None
        with ui.element("article").classes("tile") as tile:
            tile.props["aria-label"] = f"Camera {camera}"  # as it is: a camera's name is hostile
            with ui.element("div").classes("frame"):
                self._image = ui.element("img")
                self._image.props["alt"] = f"Last picture of camera {camera}"
                self._boxes = ui.html("", sanitize=False).classes("boxes")  # numbers alone
            with ui.row().classes("caption"):
                ui.label(camera).classes("name")
                self._state = ui.label("").classes("pill")
                ui.space()
                self._figures = ui.label("").classes("hint")
            with ui.row().classes("caption"):
                self._seen = ui.label("").classes("hint")
                ui.space()
                ui.link("Zones and rules", f"/cameras/{quote(camera, safe='')}/rules")

    def show(self, camera: CameraOut, boxes: str) -> None:
        now = time.time()
        self._image.props["src"] = (
            f"/api/cameras/{quote(camera.id, safe='')}/picture?at={round(now)}"
        )
        self._image.update()
        self._boxes.set_content(boxes)
        self._state.set_text("up" if camera.up else "down")
        self._state.classes(replace=f"pill {'up' if camera.up else 'down'}")
        self._figures.set_text(self._rates(camera.frames, now))
        seen = (
            "no frame yet"
            if camera.last_frame is None
            else f"last frame {ago(camera.last_frame, round(now * 1000))}"
        )
        going_on = f" · {camera.open_alerts} going on" if camera.open_alerts else ""
        self._seen.set_text(f"{seen}{going_on}")

    def _rates(self, frames: dict[str, float], now: float) -> str:
        before, self._before = self._before, (now, frames)
        if before is None or now <= before[0]:
            return ""
        seconds, known = now - before[0], before[1]

        def rate(fates: Any) -> float:
            gained = sum(frames.get(fate, 0) - known.get(fate, 0) for fate in fates)
            return max(gained, 0.0) / seconds

        every = rate(frames)
        return f"{every:.1f} fps · {rate(_DROPPED):.1f} dropped"

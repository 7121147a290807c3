"""Cameras, as their workers report them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from streams.dashboard.api.bodies import CameraOut, Error
from streams.dashboard.api.requests import Has
from streams.dashboard.services import Services
from streams.dashboard.view.query import Filters, page_of
from streams.errors import NotFound

router = APIRouter(
    tags=["cameras"],
    responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}},
)


@router.get("/cameras")
async def list_cameras(has: Has) -> list[CameraOut]:
    """List the cameras that the workers know."""
    return await cameras_of(has)


@router.get(
    "/cameras/{camera:path}/picture",
    responses={200: {"content": {"image/jpeg": {}, "image/png": {}}}, 404: {"model": Error}},
    response_class=Response,
)
async def last_picture(camera: str, has: Has) -> Response:
    """Give the last picture that a camera sent."""
    frame = await has.frames.get(camera)
    if frame is None:
        raise NotFound(f"no picture of camera {camera!r}")
    return Response(frame.data, media_type=frame.media_type, headers={"cache-control": "no-store"})


async def cameras_of(has: Services) -> list[CameraOut]:
    """Join what the workers say with the alerts that are open.

    Raises:
        StoreError: Redis does not serve.
    """
    page = await page_of(has.store, Filters(kind="object", open=True, suppressed=True), limit=1000)
    still_open = [viewed.alert.entity for viewed in page.alerts]
    return [
        CameraOut(
            id=name,
            up=camera.up,
            last_frame=camera.last_frame,
            frames=camera.frames,
            rates=camera.rates,
            open_alerts=still_open.count(name),
        )
        for name, camera in sorted(has.workers.cameras().items())
    ]

"""Cameras, as their workers report them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from streams.dashboard.api.bodies import CameraOut, Error
from streams.dashboard.api.requests import Has
from streams.dashboard.services import Services
from streams.dashboard.view.query import Filters, page_of
from streams.errors import NotFound
from streams.frame_metrics import FATES

router = APIRouter(
    tags=["cameras"],
    responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}},
)


@router.get("/cameras")
async def list_cameras(has: Has) -> list[CameraOut]:
    """List the cameras that the workers know."""
    return await cameras_of(has)


@router.get(
    "/cameras/{camera}/picture",
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
    found = []
    for camera, samples in sorted(has.workers.cameras().items()):
        seen = samples.get("tocsin_camera_frame_timestamp_seconds", camera=camera)
        counts = {
            fate: samples.get("tocsin_camera_frames_total", camera=camera, fate=fate)
            for fate in FATES
        }
        found.append(
            CameraOut(
                id=camera,
                up=bool(samples.get("tocsin_camera_up", camera=camera)),
                last_frame=round(seen * 1000) if seen else None,
                frames={fate: count for fate, count in counts.items() if count},
                open_alerts=still_open.count(camera),
            )
        )
    return found

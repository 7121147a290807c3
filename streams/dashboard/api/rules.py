"""What raises an alert before a camera: its part of the rules file, read and replaced.

Values are as in the file. The answer's ETag names the whole file; who changes it says by If-Match
which one they saw, so nobody undoes what somebody else did meanwhile.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, FastAPI, Header, HTTPException, Path, Request, Response

from models.vision.rules_file import MAX_FILE_BYTES
from streams.dashboard.api.bodies import Error
from streams.dashboard.api.requests import Analyst, Has
from streams.dashboard.rules.editor import Held
from streams.dashboard.rules.part import CameraRules
from streams.errors import SettingsError

(_PART,), _SCHEMAS = msgspec.json.schema_components(
    [CameraRules], ref_template="#/components/schemas/{name}"
)
_CONTENT: Final[dict[str, Any]] = {"application/json": {"schema": _PART}}
_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The part of the camera.",
        "content": _CONTENT,
        "headers": {"ETag": {"description": "For If-Match.", "schema": {"type": "string"}}},
    },
    409: {"model": Error},
}

router = APIRouter(
    tags=["cameras"],
    responses={400: {"model": Error}, 403: {"model": Error}, 503: {"model": Error}},
)

Camera = Annotated[str, Path(min_length=1, max_length=128)]


@router.get("/cameras/{camera:path}/rules", response_class=Response, responses=_ANSWER)
async def get_rules(camera: Camera, has: Has) -> Response:
    """Give the rules that hold for a camera, with the zones and lines that are its to change."""
    return _answer(await has.rules.of(camera))


@router.put(
    "/cameras/{camera:path}/rules",
    response_class=Response,
    responses={**_ANSWER, 412: {"model": Error}, 428: {"model": Error}},
    openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
)
async def put_rules(
    camera: Camera,
    request: Request,
    has: Has,
    who: Analyst,
    if_match: Annotated[str | None, Header(max_length=1024)] = None,
) -> Response:
    """Replace a camera's part; workers read it within seconds, and keep what goes on."""
    if if_match is None:
        raise HTTPException(
            428, "say by If-Match which rules you saw: the ETag that came with them"
        )
    known = [tag.strip().strip('"') for tag in if_match.split(",")]
    try:
        part = msgspec.json.decode(await _body(request), type=CameraRules)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{error}; nothing was saved") from None
    return _answer(await has.rules.save(camera, part, known, who))


def describe(app: FastAPI) -> None:
    """Add the schemas of rules to the app's OpenAPI document, as msgspec derives them."""
    inner = app.openapi

    def openapi() -> dict[str, Any]:
        document = inner()
        document["components"]["schemas"].update(_SCHEMAS)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FILE_BYTES:
            raise SettingsError(f"more than {MAX_FILE_BYTES} bytes are no part of a rules file")
    return body


def _answer(held: Held) -> Response:
    return Response(
        msgspec.json.encode(held.part),
        media_type="application/json",
        headers={"etag": f'"{held.digest}"', "cache-control": "no-cache"},
    )

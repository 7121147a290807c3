"""The headers of a record on `frames`: what a camera says about the picture in its value.

Headers rather than an envelope, so that the value stays the picture that any viewer opens. All are
text; what a camera may leave out is left out of its dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from streams.schemas import Headers, Id, Millis
from streams.tracing import trace_context

Side = Annotated[int, Meta(ge=1, le=1_000_000)]


class FrameHeaders(Struct, frozen=True, kw_only=True):
    """What stands beside a picture, or, with `state` and no value, in the place of one.

    `seq` counts the camera's frames, so that gaps show; `width` and `height` are those of the
    picture as it is stored, before any EXIF rotation.
    """

    camera_id: Id
    captured_at: Millis
    """When the shutter opened, by the camera's or its reader's clock."""

    seq: Annotated[int, Meta(ge=0)] | None = None
    width: Side | None = None
    height: Side | None = None
    source: Literal["simulated", "file", "folder", "stream", "webcam"] | None = None
    state: Literal["up", "down"] | None = None
    """``down``: no picture, the camera's reader has lost it and tries again."""

    traceparent: str | None = None
    tracestate: str | None = None

    def to_headers(self) -> list[tuple[str, bytes | None]]:
        """Give the record's headers; what is None is left out."""
        fields = msgspec.structs.asdict(self)
        return [(name, str(value).encode()) for name, value in fields.items() if value is not None]

    def trace_context(self) -> list[tuple[str, bytes | None]]:
        """Give the headers that go on to what this frame brings about."""
        return trace_context(self.to_headers())


FRAME_HEADERS: Final = FrameHeaders.__struct_fields__


def parse_headers(
    key: bytes | None, headers: Headers | Sequence[tuple[str, bytes | None]]
) -> FrameHeaders:
    """Read a frame's headers; the camera may be named by the record's key alone.

    Raises:
        ValueError: a header is missing, malformed or repeated, or the key names another camera.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if name not in FRAME_HEADERS or value is None:
            continue
        if name in found:
            raise ValueError(f"header {name} is there twice")
        found[name] = _text(f"header {name}", value)
    if key is not None:
        camera = _text("the key", key)
        if found.setdefault("camera_id", camera) != camera:
            raise ValueError(f"the key is {camera!r} and header camera_id {found['camera_id']!r}")
    return _convert(found)


def _text(what: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is not UTF-8: {error.reason}") from None


def _convert(found: Mapping[str, str]) -> FrameHeaders:
    try:
        return msgspec.convert(found, FrameHeaders, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"headers: {error}") from None

"""`tocsin alerts show`: one alert with its picture."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.start import start
from streams.errors import SettingsError, TocsinError
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS, Alert, decode_alert, encode
from streams.settings import Settings
from streams.state.pictures import CROP, open_pictures


def show(
    alert: Annotated[str, typer.Argument(metavar="ID", help="Its id, or one revision's event_id.")],
    *,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write its picture, a JPEG, there.")
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", help="Save the object alone, not the whole picture.")
    ] = False,
) -> None:
    """Print the last word on an alert, and save its picture.

    The picture is the best one so far; it is kept for vision.snapshot_ttl_h.
    """
    if crop and save is None:
        raise SettingsError("--crop says what to save: give --save FILE with it")
    settings = start()
    found = asyncio.run(_find(settings, alert))
    print(json.dumps(json.loads(encode(found)), indent=2, ensure_ascii=False))
    if save is None:
        return
    data = _picture(settings, found, crop=crop)
    try:
        save.write_bytes(data)
    except OSError as error:
        raise SettingsError(f"cannot write --save {save}: {error.strerror}") from None


async def _find(settings: Settings, name: str) -> Alert:
    topic = settings.topics.alerts
    found: Alert | None = None
    async for records in read_topic(settings.kafka, topic, from_beginning=True, follow=False):
        for record in records:
            try:
                alert = decode_alert(record.value or b"")
            except DECODE_ERRORS:
                continue  # `alerts tail` warns of it
            if name == alert.event_id:
                return alert
            if name == alert.id and (found is None or found.revision <= alert.revision):
                found = alert
    if found is None:
        raise TocsinError(f"no alert {name!r} on topic {topic!r}: tocsin alerts tail shows ids")
    return found


def _picture(settings: Settings, alert: Alert, *, crop: bool) -> bytes:
    pictures = open_pictures(settings)
    if alert.snapshot is None or pictures is None:
        raise TocsinError(f"alert {alert.id!r} has no picture")
    data = pictures.get(alert.snapshot + CROP if crop else alert.snapshot)
    pictures.close()
    if data is None:
        raise TocsinError(
            f"the picture of {alert.id!r} is gone: vision.snapshot_ttl_h or "
            "vision.snapshot_max_bytes was reached"
        )
    return data

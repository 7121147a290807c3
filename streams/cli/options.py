"""Command line values that are not plain numbers or text."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.producers.sources import Source

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str) -> int:
    """Parse ``7d``, ``12h``, ``30m`` or ``90s`` into milliseconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration: write 7d, 12h, 30m or 90s")
    return round(float(match[1]) * _UNITS_MS[match[2]])


def moment_ms(text: str) -> int:
    """Parse ``2018-07-25`` or ``2018-07-25T12:00``, UTC unless it names a zone, into ms."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date: write 2018-07-25") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def moment_or_ago_ms(text: str) -> int:
    """Parse a date as `moment_ms` does, or ``2h`` for so long ago, into ms since the epoch."""
    if re.fullmatch(r"[\d.]+[smhd]", text.strip()):
        return round(time.time() * 1000) - duration_ms(text)
    try:
        return moment_ms(text)
    except typer.BadParameter:
        raise typer.BadParameter(
            f"{text!r} is no time: write 2018-07-25, 2018-07-25T12:00, or 2h for two hours ago"
        ) from None


def size_of(text: str | None) -> tuple[int, int] | None:
    """Parse ``640x360`` into width and height."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size: write 640x360")
    return int(match[1]), int(match[2])


def cameras_of(source: str | None, named: Sequence[str]) -> dict[str, Source]:
    """Parse the cameras of a command: one without a name, or ``NAME=SOURCE`` each.

    Raises:
        SettingsError: a source is none, or two cameras have one name.
    """
    from streams.producers.sources import parse_source  # noqa: PLC0415  imports OpenCV

    if source is not None and named:
        raise SettingsError("give one SOURCE or several --camera NAME=SOURCE, not both")
    cameras: dict[str, Source] = {}
    for text in named or [f"camera-1={source or 'sim'}"]:
        name, given, target = text.partition("=")
        if not given or not name:
            raise SettingsError(f"--camera {text}: write NAME=SOURCE, for example gate=rtsp://...")
        if name in cameras:
            raise SettingsError(f"two cameras are called {name!r}")
        cameras[name] = parse_source(target)
    return cameras


def writable(path: Path | None) -> Path | None:
    """Give `path` back, or refuse it before hours of work rather than after them.

    Raises:
        SettingsError: no file can be written there.
    """
    if path is None:
        return None
    if path.is_dir():
        raise SettingsError(f"cannot write --report {path}: it is a folder, name a file in it")
    if not path.parent.is_dir():
        raise SettingsError(f"cannot write --report {path}: {path.parent} is no folder")
    try:
        is_new = not path.exists()
        path.open("ab").close()  # leaves what is there as it is
        if is_new:
            path.unlink()
    except OSError as error:
        raise SettingsError(f"cannot write --report {path}: {error.strerror}") from None
    return path


Report = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the figures as one JSON object.", callback=writable),
]
"""The option ``--report`` of a command that ends in `write_report`."""


def write_report(path: Path | None, report: dict[str, Any]) -> None:
    """Write one JSON object to `path`, or nothing where there is none.

    A measure without a meaning, nan here, is null there: JSON has no nan, and few readers take it.

    Raises:
        SettingsError: the file cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(
            json.dumps(_finite(report), indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise SettingsError(f"cannot write --report {path}: {error.strerror}") from None


def _finite(value: Any) -> Any:
    """The same with None for each nan or infinity."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

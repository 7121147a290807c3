"""Command line values that are not plain numbers or text."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from streams.errors import SettingsError

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


def write_report(path: Path | None, report: dict[str, Any]) -> None:
    """Write one JSON object to `path`, or nothing where there is none.

    Raises:
        SettingsError: the file cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write --report {path}: {error.strerror}") from None

"""Logging set-up: one line a record on standard error, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from streams.settings import LogSettings

_NOISY = ("aiokafka", "kafka", "faust", "mode", "streams.transport")
"""Libraries, and what of ours is a service of theirs, that tell of every join and every retry.
Their errors still come through; what a worker waits for it says itself."""


_IDS = ("trace_id", "span_id", "alert_id")
"""What a record may be about, beside its message: a span of `streams.tracing`, an alert."""


class TextFormatter(logging.Formatter):
    """One line a record for people, with the ids at its end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """Return `record` without an exception that it may have."""
        ids = "".join(f" {name}={value}" for name, value in _ids(record).items())
        return super().formatMessage(record) + ids


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, ids and exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _ids(record: logging.LogRecord) -> dict[str, str]:
    return {name: found for name in _IDS if (found := getattr(record, name, None)) is not None}


def set_up(settings: LogSettings) -> None:
    """Send all logging to standard error in the chosen format."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    quiet = logging.DEBUG if settings.level == "DEBUG" else logging.ERROR
    for name in _NOISY:
        logging.getLogger(name).setLevel(quiet)

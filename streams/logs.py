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


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, and the exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up(settings: LogSettings) -> None:
    """Send all logging to standard error in the chosen format."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    quiet = logging.DEBUG if settings.level == "DEBUG" else logging.ERROR
    for name in _NOISY:
        logging.getLogger(name).setLevel(quiet)

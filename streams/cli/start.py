"""What every command does first."""

from __future__ import annotations

import logging

from streams.logs import set_up
from streams.settings import Settings, load_settings


def start() -> Settings:
    """Load the settings and set logging up.

    The Kafka clients log each failed attempt; a command says once what is wrong, so they stay
    silent unless the level is DEBUG.

    Raises:
        SettingsError: a setting is malformed or unknown.
    """
    settings = load_settings()
    set_up(settings.log)
    if settings.log.level != "DEBUG":
        for library in ("aiokafka", "kafka"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
    return settings

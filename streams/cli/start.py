"""What every command does first."""

from __future__ import annotations

import logging
import os

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


def let_idle_threads_sleep() -> None:
    """Keep torch's idle threads from spinning; to be called before torch is imported.

    A thread that spins at a barrier waits for one that the decoders or another process keep from
    its core: on two busy cores the street detector took 90 to 250 ms a frame, now 20 to 35.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

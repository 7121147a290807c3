"""`tocsin webhooks`: alerts out to HTTP endpoints."""

from __future__ import annotations

import asyncio
import logging
import signal
from importlib.util import find_spec

from streams.cli.start import start
from streams.errors import SettingsError


def webhooks() -> None:
    """Send alerts to the endpoints of webhooks.endpoints until Ctrl-C, from what comes next on.

    Each request is signed. One that is not taken is tried again after growing waits; what is
    refused for good goes to the dead-letter topic of the alerts.
    """
    settings = start()
    if find_spec("httpx") is None:
        raise SettingsError("httpx is not installed: pip install 'tocsin[dashboard]'")
    for library in ("httpx", "httpcore"):  # they log URLs, and many a webhook's is a secret
        logging.getLogger(library).setLevel(logging.WARNING)
    from streams.webhooks.forward import forward  # noqa: PLC0415  imports the HTTP client

    async def run() -> None:
        work = asyncio.ensure_future(forward(settings))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
        await asyncio.wait([work])
        if not work.cancelled():
            work.result()

    asyncio.run(run())

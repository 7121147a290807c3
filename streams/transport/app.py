"""The Faust App that the batch transport serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import faust
from faust.types import TP
from mode.utils.objects import cached_property
from mode.utils.queues import FlowControlEvent

from streams.transport.monitor import BatchMonitor
from streams.transport.selfcheck import check_hooks

BUFFERED_BATCHES = 16
"""Fetching pauses when an agent is this many batches behind. Faust's 4,096 are meant for records:
of batches that is 67 million records in memory."""

StartPositions = Callable[[Mapping[TP, int | None]], Awaitable[Mapping[TP, int]]]
"""Given the commit of each assigned batch partition (None: none yet), gives the offset to start
from. A partition left out starts at its commit. Called after each rebalance before anything is
delivered; may wait for a store as long as it must. An exception ends the worker."""


Gone = Callable[[TP, int, int], None]
"""Told, in the consumer's thread, of a partition and of the first offset and the one past the last
that the broker deleted before they were fetched."""


class _Flow(FlowControlEvent):  # type: ignore[misc]  # mode is Any to mypy
    """Lets the flow go on and leaves the agents' queues as they are.

    Faust empties them, in the belief that they hold what came before the rebalance. That it has
    emptied when the rebalance began; what is there now came after the seek, or is stale, and a
    batch that is thrown away here would never come again.
    """

    def resume(self) -> None:
        self._suspend.clear()
        self._resume.set()


class BatchApp(faust.App):  # type: ignore[misc]  # Faust is Any to mypy
    """A Faust App with what the batch transport reads beside Faust's own settings.

    `options` are Faust's. `start_positions` and `on_gone` may also be set after construction,
    until the worker starts.

    Raises:
        TransportError: the installed Faust or aiokafka lacks a hook.
    """

    def __init__(
        self,
        app_id: str,
        *,
        broker: str,
        fetch_min_bytes: int = 1,
        fetch_max_wait_ms: int = 500,
        isolation_level: Literal["read_uncommitted", "read_committed"] = "read_uncommitted",
        start_positions: StartPositions | None = None,
        on_gone: Gone | None = None,
        **options: Any,
    ) -> None:
        check_hooks()
        self.fetch_min_bytes = fetch_min_bytes
        self.fetch_max_wait_ms = fetch_max_wait_ms
        self.isolation_level = isolation_level
        self.start_positions = start_positions
        self.on_gone = on_gone
        defaults = {
            "Monitor": BatchMonitor,
            "broker_max_poll_records": None,
            "stream_buffer_maxsize": BUFFERED_BATCHES,
            "web_enabled": False,
        }
        super().__init__(app_id, broker=broker, **{**defaults, **options})

    @cached_property  # type: ignore[untyped-decorator]  # mode is Any to mypy
    def flow_control(self) -> FlowControlEvent:
        """Suspend and let go on what is delivered."""
        return _Flow(loop=self.loop)

"""Faust's monitor with records counted where batches are delivered."""

from __future__ import annotations

from typing import Any

from faust.sensors import Monitor
from faust.types import TP

from streams.transport.offsets import BatchOffset


class BatchMonitor(Monitor):  # type: ignore[misc]  # Faust is Any to mypy
    """Counts records, not batches, and lets go of a batch's payload once it is acknowledged."""

    def on_message_in(self, tp: TP, offset: int, message: Any) -> None:
        """Count each record of a batch that an agent takes up."""
        super().on_message_in(tp, offset, message)
        if isinstance(offset, BatchOffset):
            others = len(message.value) - 1
            self.messages_received_total += others
            self.messages_received_by_topic[tp.topic] += others

    def on_message_out(self, tp: TP, offset: int, message: Any) -> None:
        """Free the payload: Faust keeps the message of a finished event until the next comes."""
        super().on_message_out(tp, offset, message)
        if isinstance(offset, BatchOffset):
            message.value = None

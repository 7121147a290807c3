"""How an agent with an outbox goes on: what was pending goes out, what was lost is ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from streams.alerts.envelope import cloud_events_headers
from streams.alerts.objects import end_of_lost
from streams.pipeline.batch import Message
from streams.reading import read_topic
from streams.schemas import DECODE_ERRORS, Alert, decode_alert, encode
from streams.settings import Settings
from streams.state.outbox import load_outbox
from streams.state.store import StateStore

log = logging.getLogger(__name__)


class ResumeObjects:
    """What the vision agent says before it looks at the first frame of a partition."""

    def __init__(self, store: StateStore, settings: Settings) -> None:
        self._store, self._settings = store, settings

    async def messages(self, partition: int, *, lost: bool) -> list[Message]:
        """Give the messages that must go out before a partition's first frame.

        With its state in place, those of the last flush, which may not have gone out; with it
        gone, an end for each alert of the partition that the alerts topic shows as open.

        Raises:
            BrokerError: the alerts topic cannot be read.
        """
        if lost:
            return await self._ends(partition)
        pending = await asyncio.to_thread(load_outbox, self._store, partition)
        if pending:
            log.info("partition %d: %d alerts were pending", partition, len(pending))
        return [Message(one.topic, one.key, one.value, one.headers) for one in pending]

    async def _ends(self, partition: int) -> list[Message]:
        alerts = self._settings.topics.alerts
        now = round(time.time() * 1000)
        found = await self._open_alerts(partition)
        log.error(
            "partition %d: its state is lost: tracks begin anew, %d open alerts end with the "
            "reason 'state lost'",
            partition,
            len(found),
        )
        ends = [end_of_lost(alert, now) for alert in found.values()]
        return [
            Message(alerts, end.entity.encode(), encode(end), cloud_events_headers(end))
            for end in ends
        ]

    async def _open_alerts(self, partition: int) -> Mapping[str, Alert]:
        """Read the last message of each object alert of a partition that has not ended."""
        vision, topics = self._settings.vision, self._settings.topics
        since_ms = round(time.time() * 1000 - vision.lost_lookback_h * 3_600_000)
        found: dict[str, Alert] = {}
        batches = read_topic(
            self._settings.kafka,
            topics.alerts,
            from_beginning=True,
            follow=False,
            since_ms=since_ms,
        )
        async for records in batches:
            for record in records:
                try:
                    alert = decode_alert(record.value or b"")
                except DECODE_ERRORS:
                    continue  # somebody else's
                source = alert.source
                if alert.kind != "object" or source.topic != topics.frames:
                    continue
                if source.partition == partition:
                    before = found.get(alert.id)
                    if before is None or before.revision <= alert.revision:
                        found[alert.id] = alert
        return {name: alert for name, alert in found.items() if alert.status != "end"}

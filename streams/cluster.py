"""An agent's topic as the cluster knows it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping

from typing_extensions import override

from streams import admin
from streams.app.agent import Agent
from streams.dead_letters.buried import find_buried
from streams.pipeline import watch
from streams.pipeline.assignment import TopicLog
from streams.pipeline.dead_letter import Buried
from streams.reading import holds_records
from streams.settings import Settings
from streams.state import table
from streams.state.store import Identity

log = logging.getLogger(__name__)

Earliest = Callable[[Collection[int]], Awaitable[Mapping[int, int]]]


class ClusterLog(TopicLog):
    """Asks the cluster itself, but for `earliest`, which a member of the group can ask as well."""

    def __init__(self, agent: Agent, settings: Settings, earliest: Earliest) -> None:
        self.name = agent.topic
        self._agent, self._settings, self._earliest = agent, settings, earliest
        self._kafka = settings.kafka

    @override
    async def identity(self) -> bytes:
        return identity_of(self._agent, await admin.describe(self._kafka, self.name))

    @override
    async def earliest(self, partitions: Collection[int]) -> Mapping[int, int]:
        return await self._earliest(partitions)

    @override
    async def ends(self) -> Mapping[int, int]:
        return await admin.log_ends(self._kafka, self.name)

    @override
    async def holds_records(self, partition: int, first: int, end: int) -> bool:
        return await holds_records(self._kafka, self.name, partition, first, end)

    @override
    async def buried(self, spans: Mapping[int, range]) -> Mapping[int, Buried]:
        log.info("state is to be rebuilt: reading which records of %s are buried", self.name)
        found = await find_buried(self._settings, self.name, spans)
        log.info("%d are, and are passed over", sum(map(len, found.values())))
        return found


def identity_of(agent: Agent, topic: admin.TopicIdentity) -> bytes:
    """What the state in a namespace belongs to."""
    return Identity(
        group=agent.group,
        cluster=topic.cluster_id,
        topic=agent.topic,
        topic_id=topic.topic_id,
        partitions=topic.partitions,
        model=agent.model,
        version=watch.STATE_VERSION if agent.table is None else table.ROW_VERSION,
    ).encode()

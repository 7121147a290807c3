"""An agent's topic as the cluster knows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping

from typing_extensions import override

from streams import admin
from streams.app.agent import Agent
from streams.pipeline import watch
from streams.pipeline.assignment import TopicLog
from streams.reading import holds_records
from streams.settings import KafkaSettings
from streams.state import table
from streams.state.store import Identity

Earliest = Callable[[Collection[int]], Awaitable[Mapping[int, int]]]


class ClusterLog(TopicLog):
    """Asks the cluster itself, but for `earliest`, which a member of the group can ask as well."""

    def __init__(self, agent: Agent, kafka: KafkaSettings, earliest: Earliest) -> None:
        self.name = agent.topic
        self._agent, self._kafka, self._earliest = agent, kafka, earliest

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

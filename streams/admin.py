"""Questions and orders to the cluster: topics, their identity, and how far a group has come.

kafka-python's admin client does it, because aiokafka's speaks no version of the metadata request
that carries topic ids. Apache Kafka 4 and the embedded broker both answer with a cluster id and a
topic id; a topic that is deleted and made again gets another id, the cluster id of the embedded
broker is always ``tansu_cluster``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    OffsetSpec,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
    for_code,
)
from kafka.structs import OffsetAndMetadata

from streams.connection import broker_errors, client_options, consumer_options
from streams.errors import BrokerError, TopicMissing
from streams.rights import KafkaRight
from streams.settings import KafkaSettings
from streams.topics import TopicSpec

# A person waits for the answer: a broker that is up answers within milliseconds.
_CONNECT_MS = 5_000
_REQUEST_MS = 15_000

_OPERATIONS = {
    "Create": ACLOperation.CREATE,
    "Describe": ACLOperation.DESCRIBE,
    "DescribeConfigs": ACLOperation.DESCRIBE_CONFIGS,
    "Read": ACLOperation.READ,
    "Write": ACLOperation.WRITE,
}

_SCRAM_ITERATIONS = 8192
"""Guessing from a stolen hash takes so many times as long; a client takes as many at a connect."""

_SETTING_UP = (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
)

_TOPIC_EXISTS = 36
_NO_SUCH_TOPIC = 3


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """What tells a topic from another of the same name. `topic_id` is None on an old broker."""

    cluster_id: str
    topic_id: str | None
    partitions: int


@dataclass(frozen=True, slots=True)
class TopicReport:
    """What `KafkaAdmin.ensure` found or did; `drift` names each difference from the table."""

    name: str
    state: Literal["created", "exists", "missing"]
    partitions: int
    drift: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterHealth:
    """Brokers that are up, and partitions of some topics: all, short of replicas, leaderless."""

    brokers: int
    partitions: int
    under_replicated: int
    leaderless: int


@contextmanager
def connect(kafka: KafkaSettings) -> Iterator[KafkaAdmin]:
    """Open an admin connection and close it after the block.

    Raises:
        BrokerError: no broker answers within five seconds, or it refuses us.
        SettingsError: the security settings contradict each other.
    """
    with (
        broker_errors(kafka),
        _client(
            KafkaAdminClient,
            **client_options(kafka),
            bootstrap_timeout_ms=_CONNECT_MS,
            request_timeout_ms=_REQUEST_MS,
        ) as client,
    ):
        yield KafkaAdmin(client, kafka)


@contextmanager
def _client(kind: Any, **options: Any) -> Iterator[Any]:
    """Open a client of kafka-python and close it after the block, whole.

    Its constructor starts a thread, with three open files, before it looks for a broker, and leaves
    it where there is none: that would be one for each question during an outage. Its `close` leaves
    the socket of a connection that has a request unsent.
    """
    client: Any = kind.__new__(kind)
    try:
        client.__init__(**options)
    except BaseException:
        if hasattr(client, "_client"):
            client._client.close()  # noqa: SLF001 - it has no other way
        raise
    try:
        yield client
    finally:
        sockets = _sockets(client)
        client.close()
        for socket in sockets:
            socket.close()


def _sockets(client: Any) -> list[Any]:
    connections = list(client._client._manager._conns.values())  # noqa: SLF001 - as above
    held = [one.transport._sock for one in connections if one.transport is not None]  # noqa: SLF001
    return [socket for socket in held if socket is not None]


class KafkaAdmin:
    """One admin connection. Blocking, and for one thread at a time; see `connect`."""

    def __init__(self, client: KafkaAdminClient, kafka: KafkaSettings) -> None:
        self._client = client
        self._kafka = kafka

    def ensure(self, specs: Sequence[TopicSpec], *, create: bool = True) -> list[TopicReport]:
        """Create the topics that are missing and compare the others with the table.

        Calling it again changes nothing: no topic is ever altered or deleted.

        Raises:
            BrokerError: the broker refuses to create one; the message says why.
        """
        # 1. What is there.
        found = self._partition_counts([spec.name for spec in specs])
        configs = self._configs(list(found))
        missing = [spec for spec in specs if spec.name not in found]
        # 2. Make the rest. Another process may be at it too: "exists" is as good as "created".
        if create and missing:
            self._create(missing)
        # 3. Report in the order of the table.
        made: Literal["created", "missing"] = "created" if create else "missing"
        return [
            TopicReport(spec.name, "exists", found[spec.name], _drift(spec, found, configs))
            if spec.name in found
            else TopicReport(spec.name, made, spec.partitions if create else 0)
            for spec in specs
        ]

    def describe(self, topic: str) -> TopicIdentity:
        """Look up the identity of `topic`.

        Raises:
            BrokerError: it does not exist.
        """
        cluster = self._client.describe_cluster()
        (found,) = self._described([topic])
        if not found["partitions"]:
            raise TopicMissing(f"topic {topic!r} does not exist: run `tocsin topics create`")
        topic_id = found.get("topic_id")
        return TopicIdentity(
            cluster_id=str(cluster["cluster_id"]),
            topic_id=str(topic_id) if topic_id else None,
            partitions=len(found["partitions"]),
        )

    def ends(self, topic: str) -> dict[int, int]:
        """Look up the log end of each partition: the offset that the next record gets.

        By ``read_committed`` it is where the first transaction begins that is not ended. Otherwise
        it is the high watermark in the answer to a fetch. The plain question for the latest
        offset is no use: the embedded broker answers with the second record of the last batch.

        Raises:
            BrokerError: the topic does not exist, or the broker does not answer in time.
        """
        count = self.describe(topic).partitions
        partitions = [TopicPartition(topic, number) for number in range(count)]
        options = consumer_options(self._kafka)
        with _client(KafkaConsumer, **options, fetch_max_wait_ms=100) as consumer:
            consumer.assign(partitions)
            ends = consumer.end_offsets(partitions)
            if self._kafka.isolation_level == "read_committed":
                return {at.partition: end for at, end in ends.items()}
            for partition, about in ends.items():
                consumer.seek(partition, about)
            deadline = time.monotonic() + 3 * _REQUEST_MS / 1000  # a busy broker answers late
            while any(consumer.highwater(partition) is None for partition in partitions):
                if time.monotonic() > deadline:
                    raise BrokerError(f"Kafka does not tell where topic {topic!r} ends")
                consumer.poll(timeout_ms=100)
            return {at.partition: consumer.highwater(at) for at in partitions}

    def lag(self, group: str, topic: str) -> int:
        """Count the records of `topic` that `group` has not committed.

        A partition without a commit counts from its log start.
        """
        ends, committed = self.ends(topic), self.committed(group, topic)
        at = {number: TopicPartition(topic, number) for number in ends.keys() - committed.keys()}
        starts = self._client.list_partition_offsets(
            dict.fromkeys(at.values(), OffsetSpec.EARLIEST)
        )
        done = {**committed, **{number: starts[where].offset for number, where in at.items()}}
        return sum(max(0, end - done[number]) for number, end in ends.items())

    def health(self, topics: Sequence[str]) -> ClusterHealth:
        """Count brokers, and partitions of `topics` that lack something; no topic has none.

        Raises:
            BrokerError: we may not look at one of them, so nobody knows.
        """
        brokers = self._client.describe_cluster()["brokers"]
        partitions = [
            partition for topic in self._described(topics) for partition in topic["partitions"]
        ]
        return ClusterHealth(
            len(brokers),
            len(partitions),
            sum(len(one["isr_nodes"]) < len(one["replica_nodes"]) for one in partitions),
            sum(one["leader_id"] < 0 for one in partitions),
        )

    def lags(self, reads: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], int]:
        """Count what each group has not committed of the topics that it reads.

        As the broker answers at once: unlike `lag` it leaves out groups without a commit, and what
        the embedded broker does not tell of its log ends.
        """
        commits = {
            (group, topic): found
            for group, topics in reads.items()
            for topic in topics
            if (found := self.committed(group, topic))
        }
        places = {
            TopicPartition(topic, number)
            for (_, topic), found in commits.items()
            for number in found
        }
        ends = self._client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
        return {
            (group, topic): sum(
                max(0, ends[TopicPartition(topic, number)].offset - offset)
                for number, offset in found.items()
            )
            for (group, topic), found in commits.items()
        }

    def groups(self) -> list[str]:
        """Name the consumer groups that Kafka knows and that we may look at.

        None, while the broker is still setting their coordinator up.
        """
        try:
            return sorted({found["group_id"] for found in self._client.list_groups()})
        except _SETTING_UP:
            return []

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """Look up the offset that `group` has committed on each partition of `topic`.

        Partitions without a commit are left out; all are, while the broker is still setting the
        group's coordinator up (seconds after its first start).
        """
        try:
            found = self._client.list_group_offsets([group]).get(group, {})
        except _SETTING_UP:
            return {}
        return {
            partition.partition: commit.offset
            for partition, commit in found.items()
            if partition.topic == topic and commit.offset >= 0
        }

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Commit for `group`, which nobody must have joined, by partition of `topic`.

        Raises:
            BrokerError: the broker refuses it.
        """
        asked = {
            TopicPartition(topic, number): OffsetAndMetadata(at, "", -1)
            for number, at in offsets.items()
        }
        for where, refusal in self._client.alter_group_offsets(group, asked).items():
            if refusal.errno:
                raise BrokerError(
                    f"cannot commit for group {group!r} on partition {where.partition}: "
                    f"{refusal.__name__}"
                )

    def members(self, group: str) -> int:
        """Count the members of consumer group `group`; 0 for one that nobody has joined.

        Raises:
            BrokerError: the broker does not know. The embedded one remembers members that left,
                and answers with access rights that do not exist, at which kafka-python fails.
        """
        try:
            found = self._client.describe_groups([group])
        except ValueError as error:
            raise BrokerError(f"Kafka cannot tell who is in group {group!r}: {error}") from error
        return len(found[group]["members"])

    def delete(self, *, topics: Sequence[str], groups: Sequence[str]) -> None:
        """Delete topics and consumer groups; what is not there is passed by.

        Raises:
            BrokerError: the broker refuses to delete a topic; the message says why.
        """
        answer = self._client.delete_topics(list(topics), raise_errors=False)
        for topic in answer["topics"]:
            if topic["error_code"] not in {0, _NO_SUCH_TOPIC}:
                raise BrokerError(f"cannot delete topic {topic['name']}: {topic['error_message']}")
        self._client.delete_groups(list(groups))

    def set_password(self, user: str, password: str) -> None:
        """Make `user`, or give it another password, for SCRAM-SHA-512.

        Raises:
            BrokerError: the broker does not let us.
        """
        credential = UserScramCredentialUpsertion(
            user, ScramMechanism.SCRAM_SHA_512, password, iterations=_SCRAM_ITERATIONS
        )
        refusal = self._client.alter_user_scram_credentials([credential])[user]
        if refusal:
            raise BrokerError(f"cannot give {user!r} a password: {refusal}")

    def grant(self, user: str, rights: Sequence[KafkaRight]) -> None:
        """Allow `user` all of `rights` from anywhere; what it has already stays as it is.

        Raises:
            BrokerError: the broker has no authorizer, or does not let us.
        """
        answer = self._client.create_acls(
            [
                ACL(
                    principal=f"User:{user}",
                    host="*",
                    operation=_OPERATIONS[right.operation],
                    permission_type=ACLPermissionType.ALLOW,
                    resource_pattern=ResourcePattern(
                        ResourceType[right.resource.upper()],
                        right.name,
                        ACLResourcePatternType["PREFIXED" if right.is_prefix else "LITERAL"],
                    ),
                )
                for right in rights
            ]
        )
        for refusal in answer["failed"]:
            raise refusal(f"cannot grant rights to {user!r}")

    def _partition_counts(self, names: list[str]) -> dict[str, int]:
        return {
            found["name"]: len(found["partitions"])
            for found in self._described(names)
            if found["partitions"]
        }

    def _described(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Describe topics; one that does not exist has no partitions."""
        answers = list(self._client.describe_topics(list(names)))
        for found in answers:
            if found["error_code"] not in {0, _NO_SUCH_TOPIC}:
                raise for_code(found["error_code"])(found["name"])
        return answers

    def _configs(self, names: list[str]) -> dict[str, dict[str, Any]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        found = self._client.describe_configs(resources, config_filter="all")
        return dict(found.get("topic", {}))

    def _create(self, specs: Sequence[TopicSpec]) -> None:
        answer = self._client.create_topics(
            {
                spec.name: {
                    "num_partitions": spec.partitions,
                    "replication_factor": spec.replication_factor,
                    "configs": dict(spec.config),
                }
                for spec in specs
            },
            raise_errors=False,
        )
        for topic in answer["topics"]:
            if topic["error_code"] not in {0, _TOPIC_EXISTS}:
                raise BrokerError(f"cannot create topic {topic['name']}: {topic['error_message']}")
        self._client.wait_for_topics([spec.name for spec in specs])


def _drift(
    spec: TopicSpec, partitions: dict[str, int], configs: dict[str, dict[str, Any]]
) -> tuple[str, ...]:
    """Name each difference. A broker that does not report a setting cannot drift in it."""
    differences = []
    if partitions[spec.name] != spec.partitions:
        differences.append(f"partitions {partitions[spec.name]}, not {spec.partitions}")
    actual = configs.get(spec.name, {})
    for name, wanted in spec.config.items():
        value = actual.get(name, {}).get("value", wanted)
        if value != wanted:
            differences.append(f"{name} {value}, not {wanted}")
    return tuple(differences)


async def describe(kafka: KafkaSettings, topic: str) -> TopicIdentity:
    """Look up the identity of `topic` from an event loop: cluster id, topic id, partitions.

    Raises:
        BrokerError: no broker answers, or the topic does not exist.
    """

    def ask() -> TopicIdentity:
        with connect(kafka) as admin:
            return admin.describe(topic)

    return await asyncio.to_thread(ask)


async def log_ends(kafka: KafkaSettings, topic: str) -> dict[int, int]:
    """Look up the log end of each partition of `topic` from an event loop; see `KafkaAdmin.ends`.

    Raises:
        BrokerError: no broker answers, or the topic does not exist.
    """

    def ask() -> dict[int, int]:
        with connect(kafka) as admin:
            return admin.ends(topic)

    return await asyncio.to_thread(ask)
